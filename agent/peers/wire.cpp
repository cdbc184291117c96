// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/wire.h"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <map>

#include "agent/config/judged.h"
#include "agent/peers/fields.h"
#include "maps/tables.h"

namespace slogate {
namespace {

// Bounds of what is read. No honest agent comes near them, and sums over weeks of readings at the
// bound still fit into 64 bits.
constexpr uint64_t kMaxCount = uint64_t{1} << 40;  // all counts of one arm in one reading
constexpr uint64_t kMaxNumber = kNoReadings;
constexpr uint64_t kMaxCgroups = 1 << 24;
constexpr uint64_t kMaxLasted = 3'600'000'000'000;  // ns
constexpr double kMaxLogE = 1e9;
constexpr size_t kMaxName = 64, kMaxText = 512, kMaxRows = 1024, kMaxToken = 8 << 10;
constexpr size_t kLengthBytes = 4;

namespace hello {
enum : uint64_t { Oldest = 1, Newest, Instance, Token, Signal, Counter, Judged };
}
namespace judged_fields {
enum : uint64_t { Name = 1, Digest };
}
namespace ask {
enum : uint64_t { Id = 1, Slo, Baseline, Rollout, Cursor };
}
namespace answer {
enum : uint64_t { Id = 1, State, Reading, Evidence };
}
namespace evidence {
enum : uint64_t { Rollout = 1, LogE, Samples };
}
namespace reading {
enum : uint64_t { Number = 1, Lasted, Half };
}
namespace half {
enum : uint64_t {
  Histogram = 1,  // number of the signal, row
  Counters,       // row
  Drops,          // how many in all: numbers of reasons are each kernel's own
  Looked,         // the open requests were looked at
  OpenServer,     // row
  OpenClient,
  Cgroups,
  Warming,
  Lost,
  Gap,  // enum Gap and 1
  Overdue,
  Oldest,
};
}
namespace refusal {
enum : uint64_t { Reason = 1 };
}

std::string frame(FrameType type, std::string_view fields) {
  const auto length = static_cast<uint32_t>(1 + fields.size());
  std::string bytes;
  bytes.reserve(kLengthBytes + length);
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(length >> shift));
  bytes.push_back(static_cast<char>(type));
  bytes.append(fields);
  return bytes;
}

// ---- rows of counts: how many numbers were passed over, and the count ----

class RowWriter {
 public:
  void add(size_t place, uint64_t count) {
    if (count == 0) return;
    append_varint(bytes_, place - next_);
    append_varint(bytes_, count);
    next_ = place + 1;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  size_t next_ = 0;
};

template <size_t N>
std::string row_of(const CountRow<N>& row) {
  RowWriter writer;
  for (size_t i = 0; i < row.kept().size(); ++i) writer.add(row.first() + i, row.kept()[i]);
  return writer.bytes();
}

// Counts of one arm that are read, and whether their sum stays within its bound.
class Budget {
 public:
  bool take(uint64_t count) {
    if (count > left_) return false;
    left_ -= count;
    return true;
  }

 private:
  uint64_t left_ = kMaxCount;
};

// Calls `put` with the place and the count of each entry.
Result<void> read_row(std::string_view bytes, size_t places, Budget& budget, std::string_view what,
                      const std::function<void(size_t, uint64_t)>& put) {
  FieldReader reader(bytes);
  uint64_t next = 0;
  while (!reader.at_end()) {
    const auto skip = reader.varint();
    const auto count = skip ? reader.varint() : std::nullopt;
    if (!count) return fail(fmt::format("{} is cut off", what));
    if (next >= places || *skip >= places - next)
      return fail(fmt::format("{} has a place beyond {}", what, places));
    if (!budget.take(*count)) return fail(fmt::format("{}: the counts are beyond 2^40", what));
    next += *skip;
    put(next++, *count);
  }
  return {};
}

// ---- reading fields ----

// A message's fields by number, each with what reads it; the others are passed over. `what` names
// the message in errors.
using Take = std::function<Result<void>(const WireField&)>;
struct Known {
  uint64_t number;
  bool is_bytes;
  Take take;
};

Result<void> read_fields_of(std::string_view what, std::string_view fields,
                            std::initializer_list<Known> known) {
  FieldReader reader(fields);
  while (!reader.at_end()) {
    const auto field = reader.next();
    if (!field) return fail(field.error().within(what));
    const auto* row = std::ranges::find(known, field->number, &Known::number);
    if (row == known.end()) continue;
    if (row->is_bytes != field->is_bytes)
      return fail(fmt::format("{}: field {} is of another kind", what, field->number));
    if (auto done = row->take(*field); !done) return fail(done.error().within(what));
  }
  return {};
}

Known number_field(uint64_t number, std::string_view name, uint64_t& to, uint64_t most,
                   uint64_t least = 0) {
  return {number, false, [=, &to](const WireField& field) -> Result<void> {
            if (field.value < least || field.value > most)
              return fail(fmt::format("{} is {}, which is not from {} to {}", name, field.value,
                                      least, most));
            to = field.value;
            return {};
          }};
}

Known text_field(uint64_t number, std::string_view name, std::string& to, size_t most) {
  return {number, true, [=, &to](const WireField& field) -> Result<void> {
            if (field.content.size() > most)
              return fail(fmt::format("{} has more than {} bytes", name, most));
            to = field.content;
            return {};
          }};
}

Known list_field(uint64_t number, std::string_view name, std::vector<std::string>& to) {
  return {number, true, [=, &to](const WireField& field) -> Result<void> {
            if (field.content.size() > kMaxName)
              return fail(fmt::format("a {} has more than {} bytes", name, kMaxName));
            if (to.size() == kMaxRows)
              return fail(fmt::format("there are more {}s than {}", name, kMaxRows));
            to.emplace_back(field.content);
            return {};
          }};
}

Known message_field(uint64_t number, Take take) {
  return {number, true, std::move(take)};
}

// ---- tables ----

uint64_t fnv(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : text) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return hash;
}

// "client_reset 1 server_reset 1 drops -1": which counters are in a sum, in the order of names.
std::string sum_text(const CounterSum& sum) {
  std::map<std::string_view, int> factors;
  for (const CounterTerm& term : sum) {
    const int factor = term.subtracted ? -1 : 1;
    if (term.family == kDropsFamily) factors[kDropsFamily] += factor;
    for (const CounterInfo& counter : kCounters)
      if (term.has(counter)) factors[counter.name] += factor;
  }
  std::string text;
  for (const auto& [name, factor] : factors)
    if (factor != 0) text += fmt::format("{} {} ", name, factor);
  return text;
}

std::string definition(size_t signal) {
  const JudgedSignal& row = kJudged[signal];
  if (is_latency(signal))
    return fmt::format("{} {} of {} from {}", row.name, kSignals[signal].role, SLOGATE_BUCKETS,
                       SLOGATE_EDGE_FIRST);
  return fmt::format("{}: {}/ {}", row.name, sum_text(row.events), sum_text(row.exposures));
}

const std::vector<JudgedDigest>& own_judged() {
  static const auto all = [] {
    std::vector<JudgedDigest> made;
    for (size_t i = 0; i < kJudgedSignals; ++i)
      made.push_back({std::string(kJudged[i].name), fnv(definition(i))});
    return made;
  }();
  return all;
}

// ---- readings ----

std::string half_fields(const ArmReading& arm) {
  std::string bytes;
  FieldWriter writer(bytes);
  for (size_t s = 0; s < arm.added.histograms.size(); ++s) {
    const std::string row = row_of(arm.added.histograms[s]);
    if (row.empty()) continue;
    std::string histogram;
    append_varint(histogram, s);
    writer.bytes(half::Histogram, histogram + row);
  }
  RowWriter counters;
  for (size_t i = 0; i < arm.added.counters.size(); ++i) counters.add(i, arm.added.counters[i]);
  if (!counters.bytes().empty()) writer.bytes(half::Counters, counters.bytes());
  const auto number = [&](uint64_t field, uint64_t value) {
    if (value != 0) writer.number(field, value);
  };
  number(half::Drops, arm.added.drops.total());
  if (arm.open) {
    writer.number(half::Looked, 1);
    for (const auto& [field, row] : {std::pair(half::OpenServer, row_of(arm.open->server)),
                                     std::pair(half::OpenClient, row_of(arm.open->client))})
      if (!row.empty()) writer.bytes(field, row);
  }
  number(half::Cgroups, arm.cgroups);
  number(half::Warming, arm.warming);
  number(half::Lost, arm.lost);
  number(half::Gap, arm.gap ? 1 + static_cast<uint64_t>(*arm.gap) : 0);
  number(half::Overdue, arm.overdue);
  number(half::Oldest, static_cast<uint64_t>(std::max<int64_t>(arm.oldest.count(), 0)));
  return bytes;
}

Result<void> read_histogram(std::string_view content, const Dictionary& dictionary, Budget& budget,
                            Counts& to) {
  FieldReader reader(content);
  const auto theirs = reader.varint();
  if (!theirs) return fail("a histogram has no number");
  std::string prefix;
  append_varint(prefix, *theirs);
  // Written as short as it can be, or the row would begin elsewhere.
  if (!content.starts_with(prefix)) return fail("the number of a histogram is written too long");
  const auto signal = dictionary.signal(*theirs);
  return read_row(content.substr(prefix.size()), SLOGATE_BUCKETS, budget,
                  fmt::format("histogram {}", *theirs), [&](size_t bucket, uint64_t count) {
                    if (signal && count != 0) to.histograms[*signal][bucket] += count;
                  });
}

Result<ArmReading> read_half(std::string_view fields, const Dictionary& dictionary) {
  ArmReading arm;
  Budget budget;
  OpenRequests open;
  uint64_t drops = 0, looked = 0, cgroups = 0, warming = 0, gap = 0, oldest = 0;
  const auto row = [&](uint64_t field, std::string_view name, Histogram& to) {
    return message_field(field, [&budget, name, &to](const WireField& at) {
      return read_row(at.content, SLOGATE_BUCKETS, budget, name,
                      [&](size_t bucket, uint64_t count) {
                        if (count != 0) to[bucket] += count;
                      });
    });
  };
  auto done = read_fields_of(
      "half", fields,
      {message_field(half::Histogram,
                     [&](const WireField& at) {
                       return read_histogram(at.content, dictionary, budget, arm.added);
                     }),
       message_field(half::Counters,
                     [&](const WireField& at) {
                       return read_row(at.content, kMaxRows, budget, "counters",
                                       [&](size_t theirs, uint64_t count) {
                                         if (const auto own = dictionary.counter(theirs))
                                           arm.added.counters[*own] += count;
                                       });
                     }),
       number_field(half::Drops, "drops", drops, kMaxCount),
       number_field(half::Looked, "looked", looked, 1),
       row(half::OpenServer, "open requests of servers", open.server),
       row(half::OpenClient, "open requests of clients", open.client),
       number_field(half::Cgroups, "cgroups", cgroups, kMaxCgroups),
       number_field(half::Warming, "warming", warming, kMaxCgroups),
       number_field(half::Lost, "lost", arm.lost, kMaxCount),
       number_field(half::Gap, "gap", gap, 1 + static_cast<uint64_t>(Gap::Container)),
       number_field(half::Overdue, "overdue", arm.overdue, kMaxCount),
       number_field(half::Oldest, "oldest", oldest, kMaxNumber)});
  if (!done) return fail(done.error());
  if (!budget.take(drops)) return fail("half: drops: the counts are beyond 2^40");
  if (warming > cgroups) return fail("half: more cgroups are warming up than there are");
  if (drops != 0) arm.added.drops[0] = drops;
  if (looked != 0) arm.open = std::move(open);
  arm.cgroups = cgroups;
  arm.warming = warming;
  if (gap != 0) arm.gap = static_cast<Gap>(gap - 1);
  arm.oldest = std::chrono::nanoseconds(oldest);
  return arm;
}

Result<LentReading> read_reading(std::string_view fields, const Dictionary& dictionary) {
  LentReading reading;
  uint64_t lasted = 0;
  size_t halves = 0;
  auto done =
      read_fields_of("reading", fields,
                     {number_field(reading::Number, "number", reading.number, kMaxNumber, 1),
                      number_field(reading::Lasted, "lasted", lasted, kMaxLasted),
                      message_field(reading::Half, [&](const WireField& at) -> Result<void> {
                        if (halves == reading.halves.size())
                          return fail("there are more halves than two");
                        auto half = read_half(at.content, dictionary);
                        if (!half) return fail(half.error());
                        reading.halves[halves++] = std::move(*half);
                        return {};
                      })});
  if (!done) return fail(done.error());
  if (reading.number == 0) return fail("reading: it has no number");
  if (halves != reading.halves.size()) return fail("reading: a half is missing");
  reading.lasted = std::chrono::nanoseconds(lasted);
  return reading;
}

std::string evidence_fields(const LentEvidence& lent) {
  std::string bytes;
  FieldWriter writer(bytes);
  writer.bytes(evidence::Rollout, lent.rollout);
  writer.number(evidence::LogE, std::bit_cast<uint64_t>(lent.log_e));
  writer.number(evidence::Samples, lent.samples);
  return bytes;
}

Result<LentEvidence> read_evidence(std::string_view fields) {
  LentEvidence lent;
  uint64_t log_e = 0;
  auto done =
      read_fields_of("evidence", fields,
                     {text_field(evidence::Rollout, "rollout", lent.rollout, kMaxText),
                      number_field(evidence::LogE, "log_e", log_e, UINT64_MAX),
                      number_field(evidence::Samples, "samples", lent.samples, kMaxNumber)});
  if (!done) return fail(done.error());
  lent.log_e = std::bit_cast<double>(log_e);
  if (!std::isfinite(lent.log_e) || std::abs(lent.log_e) > kMaxLogE)
    return fail("evidence: log_e is no number or beyond its bound");
  return lent;
}

Result<JudgedDigest> read_judged(std::string_view fields) {
  JudgedDigest judged;
  auto done =
      read_fields_of("judged signal", fields,
                     {text_field(judged_fields::Name, "name", judged.name, kMaxName),
                      number_field(judged_fields::Digest, "digest", judged.digest, UINT64_MAX)});
  if (!done) return fail(done.error());
  return judged;
}

}  // namespace

Result<std::optional<Frame>> next_frame(std::string_view input, size_t most) {
  if (input.size() < kLengthBytes) return std::nullopt;
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length = length << 8 | static_cast<uint8_t>(input[i]);
  if (length == 0) return fail("a frame has no type");
  if (length > most)
    return fail(
        fmt::format("a frame has {} bytes, more than the {} that it may have", length, most));
  if (input.size() < kLengthBytes + length) return std::nullopt;
  return Frame{.type = static_cast<uint8_t>(input[kLengthBytes]),
               .fields = input.substr(kLengthBytes + 1, length - 1),
               .bytes = kLengthBytes + length};
}

Hello own_hello(std::string instance, std::string token) {
  Hello made{.instance = std::move(instance), .token = std::move(token), .judged = own_judged()};
  for (const SignalInfo& signal : kSignals) made.signals.emplace_back(signal.name);
  for (const CounterInfo& counter : kCounters) made.counters.emplace_back(counter.name);
  return made;
}

std::string write_hello(const Hello& hello) {
  std::string fields;
  FieldWriter writer(fields);
  writer.number(hello::Oldest, hello.oldest);
  writer.number(hello::Newest, hello.newest);
  writer.bytes(hello::Instance, hello.instance);
  if (!hello.token.empty()) writer.bytes(hello::Token, hello.token);
  for (const std::string& name : hello.signals) writer.bytes(hello::Signal, name);
  for (const std::string& name : hello.counters) writer.bytes(hello::Counter, name);
  for (const JudgedDigest& one : hello.judged) {
    std::string judged;
    FieldWriter inner(judged);
    inner.bytes(judged_fields::Name, one.name);
    inner.number(judged_fields::Digest, one.digest);
    writer.bytes(hello::Judged, judged);
  }
  return frame(FrameType::Hello, fields);
}

Result<Hello> read_hello(std::string_view fields) {
  Hello read{.oldest = 0, .newest = 0};
  auto done =
      read_fields_of("hello", fields,
                     {number_field(hello::Oldest, "the oldest version", read.oldest, UINT32_MAX, 1),
                      number_field(hello::Newest, "the newest version", read.newest, UINT32_MAX, 1),
                      text_field(hello::Instance, "instance", read.instance, kInstanceBytes),
                      text_field(hello::Token, "token", read.token, kMaxToken),
                      list_field(hello::Signal, "signal", read.signals),
                      list_field(hello::Counter, "counter", read.counters),
                      message_field(hello::Judged, [&](const WireField& at) -> Result<void> {
                        if (read.judged.size() == kMaxRows) return fail("too many judged signals");
                        auto judged = read_judged(at.content);
                        if (!judged) return fail(judged.error());
                        read.judged.push_back(std::move(*judged));
                        return {};
                      })});
  if (!done) return fail(done.error());
  if (read.oldest == 0 || read.oldest > read.newest) return fail("hello: it names no version");
  if (read.instance.size() != kInstanceBytes) return fail("hello: it does not say who it is");
  return read;
}

Result<uint64_t> common_version(const Hello& ours, const Hello& theirs) {
  const uint64_t version = std::min(ours.newest, theirs.newest);
  if (version >= std::max(ours.oldest, theirs.oldest)) return version;
  return fail(fmt::format("it speaks versions {} to {}, this agent {} to {}", theirs.oldest,
                          theirs.newest, ours.oldest, ours.newest),
              "upgrade the older of the two agents");
}

std::string baseline_digest(const LentQuestion& question) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  EVP_Digest(question.baseline.data(), question.baseline.size(), hash.data(), &size, EVP_sha256(),
             nullptr);
  return {hash.begin(), hash.begin() + kDigestBytes};
}

std::string write_ask(const Ask& ask) {
  std::string fields;
  FieldWriter writer(fields);
  writer.number(ask::Id, ask.id);
  writer.bytes(ask::Slo, ask.slo);
  writer.bytes(ask::Baseline, ask.baseline);
  if (!ask.rollout.empty()) writer.bytes(ask::Rollout, ask.rollout);
  writer.number(ask::Cursor, ask.cursor);
  return frame(FrameType::Ask, fields);
}

Result<Ask> read_ask(std::string_view fields) {
  Ask read;
  auto done = read_fields_of("ask", fields,
                             {number_field(ask::Id, "id", read.id, kMaxNumber),
                              text_field(ask::Slo, "slo", read.slo, kMaxText),
                              text_field(ask::Baseline, "baseline", read.baseline, kDigestBytes),
                              text_field(ask::Rollout, "rollout", read.rollout, kMaxText),
                              number_field(ask::Cursor, "cursor", read.cursor, kMaxNumber)});
  if (!done) return fail(done.error());
  if (read.slo.empty()) return fail("ask: it names no SLO");
  return read;
}

std::string write_refusal(std::string_view reason) {
  std::string fields;
  FieldWriter(fields).bytes(refusal::Reason, reason.substr(0, kMaxText));
  return frame(FrameType::Refusal, fields);
}

std::string read_refusal(std::string_view fields) {
  std::string reason;
  if (!read_fields_of("refusal", fields, {text_field(refusal::Reason, "reason", reason, kMaxText)}))
    return "a reason that cannot be read";
  // It goes into the log and onto terminals.
  std::ranges::replace_if(
      reason, [](char c) { return c < ' ' || c > '~'; }, '?');
  return reason;
}

std::string write_reading(const LentReading& reading) {
  std::string inner, bytes;
  FieldWriter writer(inner);
  writer.number(reading::Number, reading.number);
  writer.number(reading::Lasted,
                static_cast<uint64_t>(std::clamp<int64_t>(reading.lasted.count(), 0, kMaxLasted)));
  for (const ArmReading& arm : reading.halves) writer.bytes(reading::Half, half_fields(arm));
  FieldWriter(bytes).bytes(answer::Reading, inner);
  return bytes;
}

std::string write_answer(uint64_t id, LentAnswer::State state,
                         std::span<const std::string_view> readings,
                         const std::optional<LentEvidence>& evidence) {
  std::string fields;
  FieldWriter writer(fields);
  writer.number(answer::Id, id);
  writer.number(answer::State, static_cast<uint64_t>(state));
  if (evidence) writer.bytes(answer::Evidence, evidence_fields(*evidence));
  size_t room = kMaxAnswerBytes - 1 - fields.size();
  auto first = readings.size();
  for (; first > 0 && readings[first - 1].size() <= room; --first)
    room -= readings[first - 1].size();
  for (const std::string_view reading : readings.subspan(first)) fields += reading;
  return frame(FrameType::Answer, fields);
}

Result<Dictionary> Dictionary::make(const Hello& ours, const Hello& theirs) {
  for (const JudgedDigest& own : ours.judged)
    if (std::ranges::find(theirs.judged, own) == theirs.judged.end())
      return fail(fmt::format("it does not count {} as this agent does", own.name),
                  "agents of one version lend to each other");
  const auto rows = [](const std::vector<std::string>& of, const std::vector<std::string>& own) {
    Rows made;
    for (const std::string& name : of) {
      const auto at = std::ranges::find(own, name);
      made.push_back(at == own.end() ? std::nullopt
                                     : std::optional(static_cast<size_t>(at - own.begin())));
    }
    return made;
  };
  Dictionary dictionary;
  dictionary.signals_ = rows(theirs.signals, ours.signals);
  dictionary.counters_ = rows(theirs.counters, ours.counters);
  return dictionary;
}

Result<Answer> read_answer(std::string_view fields, const Dictionary& dictionary) {
  Answer read;
  uint64_t state = 0;
  auto& readings = read.answer.readings;
  auto done = read_fields_of(
      "answer", fields,
      {number_field(answer::Id, "id", read.id, kMaxNumber),
       number_field(answer::State, "state", state,
                    static_cast<uint64_t>(LentAnswer::State::OtherQuestion)),
       message_field(answer::Reading,
                     [&](const WireField& at) -> Result<void> {
                       if (readings.size() == kKeptReadings)
                         return fail("there are too many readings");
                       auto reading = read_reading(at.content, dictionary);
                       if (!reading) return fail(reading.error());
                       if (!readings.empty() && reading->number <= readings.back().number)
                         return fail("readings are out of order");
                       readings.push_back(std::move(*reading));
                       return {};
                     }),
       message_field(answer::Evidence, [&](const WireField& at) -> Result<void> {
         auto lent = read_evidence(at.content);
         if (!lent) return fail(lent.error());
         read.answer.evidence = std::move(*lent);
         return {};
       })});
  if (!done) return fail(done.error());
  read.answer.state = static_cast<LentAnswer::State>(state);
  return read;
}

}  // namespace slogate
