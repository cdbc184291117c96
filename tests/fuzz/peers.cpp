// SPDX-License-Identifier: Apache-2.0
// What a peer sends once it has the key: frames of every kind, from either side. What is read is
// within its bounds, and what is written of it is read again the same.
#include <algorithm>
#include <cmath>

#include "agent/peers/lending.h"
#include "agent/peers/wire.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace slogate;
using fuzz::require;

const Hello& ours() {
  static const Hello made = own_hello(std::string(kInstanceBytes, 'o'), "");
  return made;
}

std::string_view fields_of(const std::string& bytes) {
  const auto frame = next_frame(bytes, bytes.size());
  require(frame && *frame && (*frame)->bytes == bytes.size(), "what we write is one frame");
  return (*frame)->fields;
}

Dictionary on_hello(std::string_view fields, Dictionary dictionary) {
  const auto read = read_hello(fields);
  if (!read) return dictionary;
  const auto again = read_hello(fields_of(write_hello(*read)));
  require(again && *again == *read, "a hello is read as it was written");
  (void)common_version(ours(), *read);
  if (auto theirs = Dictionary::make(ours(), *read)) return *theirs;
  return dictionary;
}

void on_ask(std::string_view fields) {
  const auto read = read_ask(fields);
  if (!read) return;
  require(read_ask(fields_of(write_ask(*read))) == *read, "an ask is read as it was written");
  (void)LentBook().answer(*read);
}

uint64_t total(const ArmReading& half) {
  uint64_t sum = half.added.drops.total();
  for (const auto& histogram : half.added.histograms) sum += histogram.total();
  for (const uint64_t counter : half.added.counters) sum += counter;
  if (half.open) sum += half.open->server.total() + half.open->client.total();
  return sum;
}

void on_answer(std::string_view fields, const Dictionary& dictionary) {
  const auto read = read_answer(fields, dictionary);
  if (!read) return;
  require(read->answer.readings.size() <= kKeptReadings, "there are not too many readings");
  std::vector<std::string> parts;
  uint64_t before = 0;
  for (const LentReading& one : read->answer.readings) {
    require(one.number > before, "the numbers rise");
    before = one.number;
    for (const ArmReading& half : one.halves) {
      require(total(half) <= uint64_t{1} << 40, "the sums are bounded");
      require(half.warming <= half.cgroups && half.cgroups <= 1 << 24, "so are the cgroups");
    }
    parts.push_back(write_reading(one));
  }
  if (read->answer.evidence) require(std::isfinite(read->answer.evidence->log_e), "a number");
  const std::vector<std::string_view> views(parts.begin(), parts.end());
  const std::string bytes =
      write_answer(read->id, read->answer.state, views, read->answer.evidence);
  static const Dictionary own = *Dictionary::make(ours(), ours());
  const auto again = read_answer(fields_of(bytes), own);
  require(again && again->id == read->id, "an answer is read as it was written");
  // Names may take longer than numbers did, so the oldest may have found no room.
  const auto &was = read->answer.readings, &is = again->answer.readings;
  require(is.size() <= was.size(), "nothing is added");
  for (size_t i = 0; i < is.size(); ++i)
    for (size_t half = 0; half < 2; ++half)
      require(
          is[is.size() - 1 - i].halves[half].added == was[was.size() - 1 - i].halves[half].added,
          "the counts stay");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = fuzz::text(data, size);
  Dictionary dictionary = *Dictionary::make(ours(), ours());
  for (;;) {
    const auto frame = next_frame(rest, kMaxAnswerBytes);
    if (!frame || !*frame) return 0;
    rest.remove_prefix((*frame)->bytes);
    const std::string_view fields = (*frame)->fields;
    switch (static_cast<FrameType>((*frame)->type)) {
      case FrameType::Hello:
        dictionary = on_hello(fields, std::move(dictionary));
        break;
      case FrameType::Ask:
        on_ask(fields);
        break;
      case FrameType::Answer:
        on_answer(fields, dictionary);
        break;
      case FrameType::Refusal:
        require(
            std::ranges::all_of(read_refusal(fields), [](char c) { return c >= ' ' && c <= '~'; }),
            "a refusal can be printed");
        break;
    }
  }
}
