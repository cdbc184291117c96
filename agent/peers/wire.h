// SPDX-License-Identifier: Apache-2.0
// What agents of different nodes say to each other, as bytes. Whoever reads believes nothing: every
// length, number and sum has a bound, and what is beyond it is refused with the name of its place.
//
//   frame   length of what follows (4 bytes, the highest first), type (1 byte), fields
//   Hello   the first frame of either side: versions, tables, who it is; the asker's goes first
//   Ask     what the asker wants to know of one SLO, four times a second
//   Answer  to one Ask
//   Refusal why the other side gets nothing; the last frame
//
// Two versions understand each other: they speak the highest that both know, pass over fields and
// types of frames that they do not know, and mean counters by their names, which stand in Hello.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/canary/lent.h"
#include "maps/error.h"

namespace slogate {

// The versions this agent speaks.
inline constexpr uint64_t kOldestWire = 1, kNewestWire = 1;

enum class FrameType : uint8_t { Hello = 1, Ask = 2, Answer = 3, Refusal = 4 };

// What a frame may have, its length word apart. A Hello is read of whoever has not shown yet who it
// is: names of counters take 3 KB, a token of Kubernetes 1 to 2.
inline constexpr size_t kMaxHelloBytes = 16 << 10;
inline constexpr size_t kMaxAskBytes = 4 << 10;
inline constexpr size_t kMaxAnswerBytes = 256 << 10;

// How many readings a lender keeps of an SLO: a minute, after which a judge knows how long blocks
// have to be, so that the evidence begins with the shortest.
inline constexpr size_t kKeptReadings = 240;

// The cursor of who wants evidence and no readings.
inline constexpr uint64_t kNoReadings = uint64_t{1} << 62;

inline constexpr size_t kInstanceBytes = 16;
inline constexpr size_t kDigestBytes = 16;

// What one judged signal is made of, in names: where two agents differ in it, the one's counts say
// nothing to the other.
struct JudgedDigest {
  std::string name;
  uint64_t digest = 0;

  bool operator==(const JudgedDigest&) const = default;
};

struct Hello {
  uint64_t oldest = kOldestWire, newest = kNewestWire;
  std::string instance;                        // of this run of the agent: kInstanceBytes at random
  std::string token;                           // who asks, on Kubernetes; "" elsewhere
  std::vector<std::string> signals, counters;  // rows of signals.def, by number
  std::vector<JudgedDigest> judged;

  bool operator==(const Hello&) const = default;
};

// One question of a kept connection.
struct Ask {
  uint64_t id = 0;  // chosen by the asker, repeated in the answer
  std::string slo;
  std::string baseline;  // baseline_digest()
  std::string rollout;
  uint64_t cursor = 0;  // the last reading the asker has; 0 for none; or kNoReadings

  bool operator==(const Ask&) const = default;
};

struct Answer {
  uint64_t id = 0;
  LentAnswer answer;
};

// ---- frames ----

struct Frame {
  uint8_t type = 0;
  std::string_view fields;  // lies in the input
  size_t bytes = 0;         // of the input that it took
};
// The frame that the input begins with; nothing while it is not there to its end. An error, before
// any of it has to be kept, where it would have more than `most` bytes.
[[nodiscard]] Result<std::optional<Frame>> next_frame(std::string_view input, size_t most);

// ---- writing, each a whole frame ----

// What this agent is: its tables, its versions.
[[nodiscard]] Hello own_hello(std::string instance, std::string token);
[[nodiscard]] std::string write_hello(const Hello& hello);
[[nodiscard]] std::string write_ask(const Ask& ask);
[[nodiscard]] std::string write_refusal(std::string_view reason);
// One reading as the part of an answer that it is, the same for every asker.
[[nodiscard]] std::string write_reading(const LentReading& reading);
// Of `readings`, which are such parts, the last ones for which there is room.
[[nodiscard]] std::string write_answer(uint64_t id, LentAnswer::State state,
                                       std::span<const std::string_view> readings,
                                       const std::optional<LentEvidence>& evidence);
// Questions of the same text have the same; nobody has to send a selector of a thousand globs.
[[nodiscard]] std::string baseline_digest(const LentQuestion& question);

// ---- reading ----

[[nodiscard]] Result<Hello> read_hello(std::string_view fields);
[[nodiscard]] Result<Ask> read_ask(std::string_view fields);
// The other side's reason, safe to be logged.
[[nodiscard]] std::string read_refusal(std::string_view fields);

// The version that both sides speak.
[[nodiscard]] Result<uint64_t> common_version(const Hello& ours, const Hello& theirs);

// How a lender's numbers are read: which of our rows each of its rows is.
class Dictionary {
 public:
  // Refuses a lender by whose counts something that is judged here would be told otherwise.
  [[nodiscard]] static Result<Dictionary> make(const Hello& ours, const Hello& theirs);
  // Nothing for what is not known here.
  [[nodiscard]] std::optional<size_t> signal(uint64_t theirs) const {
    return find(signals_, theirs);
  }
  [[nodiscard]] std::optional<size_t> counter(uint64_t theirs) const {
    return find(counters_, theirs);
  }

 private:
  using Rows = std::vector<std::optional<size_t>>;
  static std::optional<size_t> find(const Rows& rows, uint64_t theirs) {
    return theirs < rows.size() ? rows[theirs] : std::nullopt;
  }
  Rows signals_, counters_;
};

// Readings in it are in the order of their numbers and have all halves.
[[nodiscard]] Result<Answer> read_answer(std::string_view fields, const Dictionary& dictionary);

}  // namespace slogate
