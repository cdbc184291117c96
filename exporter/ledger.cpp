// SPDX-License-Identifier: Apache-2.0
#include "exporter/ledger.h"

#include <algorithm>
#include <utility>

namespace slogate {
namespace {

// The sum of both less what of the second had been booked. What is null is nothing.
std::shared_ptr<const Counts> grown(const std::shared_ptr<const Counts>& total,
                                    const std::shared_ptr<const Counts>& counts,
                                    const std::shared_ptr<const Counts>& booked) {
  // Most label sets have one cgroup all their life: 10 KB less to copy.
  if (total == booked) return counts;
  auto sum = total ? std::make_shared<Counts>(*total) : std::make_shared<Counts>();
  *sum += *counts;
  if (booked) *sum -= *booked;
  return sum;
}

void add(Inflight& to, const Inflight& from) {
  to.requests += from.requests;
  to.oldest = std::max(to.oldest, from.oldest);
}

}  // namespace

std::shared_ptr<const Sheet> Ledger::tick(const Snapshot& snapshot, uint64_t read,
                                          std::chrono::nanoseconds now) {
  ++tick_;
  for (auto& [labels, account] : accounts_) {
    account.members = 0;
    account.server = account.client = {};
  }
  for (const Workload& workload : snapshot.workloads)
    if (!workload.pod.pending) book(workload, now);
  std::erase_if(members_, [this](const auto& entry) { return entry.second.tick != tick_; });
  close_accounts(read, now);

  auto sheet = std::make_shared<Sheet>();
  sheet->number = tick_;
  for (const auto& [labels, account] : accounts_)
    if (is_shown(account, read, now))
      sheet->rows.push_back(
          {account.labels, account.total, account.server, account.client, account.number});
  return sheet;
}

Ledger::Account& Ledger::account_of(const Workload& workload, Account* before) {
  if (before != nullptr && are_labels_of(*before->labels, workload)) return *before;
  Labels labels = workload_labels(workload);
  const auto found = accounts_.find(labels);
  if (found != accounts_.end()) return found->second;
  const auto shared = std::make_shared<const Labels>(std::move(labels));
  return accounts_.emplace(shared, Account{.labels = shared, .number = ++opened_}).first->second;
}

void Ledger::book(const Workload& workload, std::chrono::nanoseconds now) {
  Member& member = members_[workload.id];
  Account& account = account_of(workload, member.account);
  const bool moved = std::exchange(member.account, &account) != &account;
  const bool changed = moved || (member.booked != workload.service &&
                                 (!member.booked || *member.booked != *workload.service));
  if (changed) {
    if (member.booked && !continues(*workload.service, *member.booked)) member.booked = nullptr;
    account.total = grown(account.total, workload.service, member.booked);
    member.booked = workload.service;
  }
  member.tick = tick_;
  ++account.members;
  if (changed || !workload.gone) {
    account.active = tick_;
    account.seen = now;
  }
  add(account.server, workload.server);
  add(account.client, workload.client);
}

void Ledger::close_accounts(uint64_t read, std::chrono::nanoseconds now) {
  std::erase_if(accounts_, [&](const auto& entry) {
    return entry.second.members == 0 && !is_shown(entry.second, read, now);
  });
}

bool Ledger::is_shown(const Account& account, uint64_t read, std::chrono::nanoseconds now) {
  return read <= account.active && now - account.seen < kLongestUnread;
}

}  // namespace slogate
