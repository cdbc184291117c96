// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/top.h"

#include <algorithm>
#include <tuple>

namespace slogate::cli {
namespace {

// Events per second. A count that fell is that of another agent.
std::optional<double> rate(std::optional<double> now, std::optional<double> before,
                           double seconds) {
  if (!now || !before || *now < *before) return std::nullopt;
  return (*now - *before) / seconds;
}

// How many requests of now's kind there had been. A cgroup that was known as a client until its
// first request came had served none; what a server had sent as a client is not known.
std::optional<double> requests_before(const CgroupRow& now, const CgroupRow& before) {
  if (now.signal == before.signal) return before.requests;
  if (now.role == "server" || before.role.empty()) return 0;
  return std::nullopt;
}

// Those of now's role; who had none had neither requests nor errors.
std::optional<double> errors_before(const CgroupRow& now, const CgroupRow& before) {
  if (now.role == before.role) return before.errors;
  return before.role.empty() ? std::optional(0.0) : std::nullopt;
}

TopRow compare_row(const CgroupRow& now, const CgroupRow& before, double seconds) {
  TopRow row;
  row.now = now;
  row.before = requests_before(now, before);
  row.rate = rate(now.requests, row.before, seconds);
  row.errors = rate(now.errors, errors_before(now, before), seconds);
  row.connection_errors = rate(now.connection_errors, before.connection_errors, seconds);
  row.retransmits = rate(now.retransmits, before.retransmits, seconds);
  row.drops = rate(now.drops, before.drops, seconds);
  return row;
}

// A cgroup that was not there before began with nothing.
CgroupRow find_or_new(const Sample& sample, uint64_t id) {
  const auto found = sample.cgroups.find(id);
  if (found != sample.cgroups.end()) return found->second;
  CgroupRow row;
  row.id = id;
  row.errors = row.connection_errors = row.retransmits = row.drops = 0;
  return row;
}

bool busier(const TopRow& a, const TopRow& b) {
  const auto busyness = [](const TopRow& row) {
    return std::tuple(row.rate.value_or(-1), row.now.requests.value_or(-1));
  };
  if (busyness(a) != busyness(b)) return busyness(a) > busyness(b);
  return std::tie(a.now.name, a.now.id) < std::tie(b.now.name, b.now.id);
}

// What came into the histogram since there were `before` values in it.
std::optional<Buckets> added(const Buckets& now, double before, const Buckets* then) {
  if (before == 0) return now;
  return then == nullptr ? std::nullopt : difference(now, *then);
}

}  // namespace

Sample parse_sample(const Json& status, const Json& cgroups) {
  Sample sample;
  sample.version = status.at("version").get<std::string>();
  sample.kernel = status.at("kernel").get<std::string>();
  sample.started = status.at("started").get<std::string>();
  sample.uptime = status.at("uptime_seconds").get<double>();
  sample.lost = sum_at(status, "/lost");
  sample.degraded = status.value("degraded", Json::array()).size();
  for (const Json& cgroup : cgroups) {
    CgroupRow row = parse_cgroup(cgroup);
    sample.cgroups.insert_or_assign(row.id, std::move(row));
  }
  return sample;
}

std::map<std::string, CanaryNote> parse_canaries(const Json& slos) {
  const auto rank = [](const std::string& verdict) {
    return verdict == "veto" ? 2 : verdict == "hold" ? 1 : 0;
  };
  // The worst goes first; of two that are held, the one that takes longer or is not known.
  const auto worse = [rank](const CanaryNote& a, const CanaryNote& b) {
    if (a.verdict != b.verdict) return rank(a.verdict) > rank(b.verdict);
    return a.verdict == "hold" && b.expected && (!a.expected || *a.expected > *b.expected);
  };
  std::map<std::string, CanaryNote> notes;
  for (const Json& slo : slos) {
    if (!slo.contains("verdict")) continue;  // one that cannot be judged
    const CanaryNote note{slo.at("verdict").get<std::string>(),
                          number_at(slo, "/expected_seconds")};
    for (const Json& path : slo.at("cgroups").at("canary")) {
      auto [at, is_new] = notes.try_emplace(path.get<std::string>(), note);
      if (!is_new && worse(note, at->second)) at->second = note;
    }
  }
  return notes;
}

std::vector<Saying> parse_sayings(const Json& verdicts) {
  std::vector<Saying> sayings;
  for (const Json& verdict : verdicts) {
    Saying one{verdict.at("slo").get<std::string>(), verdict.at("verdict").get<std::string>(),
               verdict.at("message").get<std::string>()};
    if (one.verdict != "pass") sayings.push_back(std::move(one));
  }
  std::ranges::stable_sort(sayings, [](const Saying& a, const Saying& b) {
    return a.verdict == "veto" && b.verdict != "veto";
  });
  return sayings;
}

std::vector<TopRow> compare(const Sample& now, const Sample* before) {
  std::vector<TopRow> rows;
  for (const auto& [id, now_row] : now.cgroups) {
    TopRow row;
    if (before == nullptr)
      row.now = now_row;
    else
      row = compare_row(now_row, find_or_new(*before, id), now.uptime - before->uptime);
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), busier);
  return rows;
}

Outcome<Sample> TopSampler::sample() {
  // List and status have to be of one tick, or rates would be off by one.
  constexpr int attempts = 3;
  auto status = fetch_("/v1/status");
  for (int attempt = 1; status; ++attempt) {
    const auto cgroups = fetch_("/v1/cgroups");
    if (!cgroups) return std::unexpected(cgroups.error());
    const auto again = fetch_("/v1/status");
    if (!again) return std::unexpected(again.error());
    if (attempt == attempts || again->at("ticks") == status->at("ticks"))
      return parse_sample(*again, *cgroups);
    status = again;
  }
  return std::unexpected(status.error());
}

Outcome<void> TopSampler::add_quantiles(TopRow& row, Sample& now) {
  const uint64_t id = row.now.id;
  if (row.now.requests.value_or(0) == 0) return {};
  const auto json = fetch_(fmt::format("/v1/cgroups/{}/histograms", id));
  if (!json && json.error().exit == kUnreachable) return std::unexpected(json.error());
  if (!json) return {};  // the cgroup has been forgotten since the list was made
  Buckets buckets = parse_buckets(json->at("signals").value(row.now.signal, Json::array()));
  const auto then = before_ ? before_->histograms.find(id) : now.histograms.end();
  const bool have_then = before_ && then != before_->histograms.end();
  const auto interval =
      row.before ? added(buckets, *row.before, have_then ? &then->second : nullptr) : std::nullopt;
  now.histograms[id] = std::move(buckets);
  if (!interval) return {};
  row.p50 = quantile(*interval, 0.5);
  row.p90 = quantile(*interval, 0.9);
  row.p99 = quantile(*interval, 0.99);
  row.p999 = quantile(*interval, 0.999);
  return {};
}

Outcome<std::optional<TopFrame>> TopSampler::poll(size_t rows) {
  auto now = sample();
  if (!now) return std::unexpected(now.error());
  if (const auto slos = fetch_("/v1/slos")) now->verdicts = parse_canaries(*slos);
  if (!now->verdicts.empty())
    if (const auto verdicts = fetch_("/v1/verdicts")) now->sayings = parse_sayings(*verdicts);
  // Another agent may have begun with other maps.
  if (before_ && before_->started != now->started) before_.reset();
  if (before_ && now->uptime <= before_->uptime) return std::nullopt;
  TopFrame frame;
  frame.rows = compare(*now, before_ ? &*before_ : nullptr);
  if (before_) frame.seconds = now->uptime - before_->uptime;
  frame.rows.resize(std::min(rows, frame.rows.size()));
  for (TopRow& row : frame.rows)
    if (auto done = add_quantiles(row, *now); !done) return std::unexpected(done.error());
  frame.sample = *now;
  frame.sample.histograms.clear();
  before_ = std::move(*now);
  return frame;
}

}  // namespace slogate::cli
