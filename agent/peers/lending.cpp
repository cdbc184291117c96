// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/lending.h"

#include <algorithm>

namespace slogate {
namespace {

using namespace std::chrono_literals;

// An SLO of which nothing came for so long is no longer one of this node.
constexpr auto kForgotten = 30s;

}  // namespace

void LentBook::add(Lendable lendable, std::chrono::nanoseconds now) {
  for (const auto& [question, reading] : lendable.readings) add(question, reading, now);
  evidence_ = std::move(lendable.evidence);
  std::erase_if(shelves_, [&](const auto& entry) {
    if (now - entry.second.last < kForgotten) return false;
    for (const Kept& kept : entry.second.readings) bytes_ -= kept.part.size();
    return true;
  });
  make_room();
}

void LentBook::add(const LentQuestion& question, const LentReading& reading,
                   std::chrono::nanoseconds now) {
  Shelf& shelf = shelves_[question.slo];
  // What was counted for another question, or before the numbers began anew, answers nobody.
  const bool continues = shelf.question.baseline == question.baseline &&
                         (shelf.readings.empty() || shelf.readings.back().number < reading.number);
  if (!continues)
    while (!shelf.readings.empty()) drop_oldest(shelf);
  if (shelf.baseline.empty() || shelf.question.baseline != question.baseline)
    shelf.baseline = baseline_digest(question);
  shelf.question = question;
  shelf.last = now;
  shelf.readings.push_back({reading.number, write_reading(reading)});
  bytes_ += shelf.readings.back().part.size();
  if (shelf.readings.size() > kKeptReadings) drop_oldest(shelf);
}

void LentBook::drop_oldest(Shelf& shelf) {
  bytes_ -= shelf.readings.front().part.size();
  shelf.readings.pop_front();
}

// Of the SLO that has most readings: who just began to ask needs the others' past as well.
void LentBook::make_room() {
  while (bytes_ > most_bytes_) {
    const auto most = std::ranges::max_element(
        shelves_, {}, [](const auto& entry) { return entry.second.readings.size(); });
    if (most == shelves_.end() || most->second.readings.empty()) return;
    drop_oldest(most->second);
  }
}

std::string LentBook::answer(const Ask& ask) const {
  using State = LentAnswer::State;
  std::optional<LentEvidence> evidence;
  if (const auto found = evidence_.find(ask.slo);
      found != evidence_.end() && found->second.rollout == ask.rollout)
    evidence = found->second;
  const auto found = shelves_.find(ask.slo);
  if (found == shelves_.end())
    return write_answer(ask.id, evidence ? State::Lends : State::NoSuchSlo, {}, evidence);
  const Shelf& shelf = found->second;
  if (shelf.baseline != ask.baseline) return write_answer(ask.id, State::OtherQuestion, {}, {});
  std::vector<std::string_view> parts;
  for (const Kept& kept : shelf.readings)
    if (kept.number > ask.cursor) parts.emplace_back(kept.part);
  return write_answer(ask.id, State::Lends, parts, evidence);
}

}  // namespace slogate
