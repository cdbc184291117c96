// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "agent/peers/fields.h"
#include "tests/unit/peers/support.h"

namespace slogate {
namespace {

using testing::HasSubstr;
using State = LentAnswer::State;

std::string answer_of(const std::vector<LentReading>& readings,
                      const std::optional<LentEvidence>& evidence = {}) {
  std::vector<std::string> written;
  for (const LentReading& one : readings) written.push_back(write_reading(one));
  const std::vector<std::string_view> parts(written.begin(), written.end());
  return write_answer(7, State::Lends, parts, evidence);
}

// What is wrong with an answer of these fields.
std::string problem(std::string_view fields) {
  const auto read = read_answer(fields, dictionary());
  return read ? "" : read.error().message;
}

// An answer with one reading of which one half has these fields, and the other none.
std::string with_half(const std::string& half) {
  std::string reading, fields;
  FieldWriter inner(reading);
  inner.number(1, 5);
  inner.bytes(3, half);
  inner.bytes(3, "");
  FieldWriter writer(fields);
  writer.number(1, 7);
  writer.bytes(3, reading);
  return fields;
}

std::string varints(std::initializer_list<uint64_t> numbers) {
  std::string bytes;
  for (const uint64_t number : numbers) append_varint(bytes, number);
  return bytes;
}

TEST(Wire, VarintsOfEveryLengthAreReadAgain) {
  for (unsigned bit = 0; bit < 64; ++bit)
    for (const uint64_t number :
         {uint64_t{1} << bit, (uint64_t{1} << bit) - 1, ~uint64_t{0} >> bit}) {
      const std::string bytes = varints({number});
      FieldReader reader(bytes);
      EXPECT_EQ(reader.varint(), number);
      EXPECT_TRUE(reader.at_end());
      for (size_t size = 0; size < bytes.size(); ++size)
        EXPECT_EQ(FieldReader(std::string_view(bytes).substr(0, size)).varint(), std::nullopt);
    }
}

TEST(Wire, AVarintBeyond64BitsIsRefused) {
  EXPECT_EQ(FieldReader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").varint(), std::nullopt);
  EXPECT_EQ(FieldReader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").varint(), std::nullopt);
}

TEST(Wire, FramesAreSplitWhereTheyEnd) {
  const std::string two = write_refusal("a") + write_refusal("bc");
  const auto first = next_frame(two, 100);
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->type, static_cast<uint8_t>(FrameType::Refusal));
  EXPECT_EQ(read_refusal((*first)->fields), "a");
  const auto second = next_frame(std::string_view(two).substr((*first)->bytes), 100);
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(read_refusal((*second)->fields), "bc");
  for (size_t size = 0; size < (*first)->bytes; ++size) {
    const auto part = next_frame(std::string_view(two).substr(0, size), 100);
    EXPECT_TRUE(part && !*part) << size;
  }
}

// The length alone is enough to be refused: nothing waits for the rest of 4 GB.
TEST(Wire, AFrameThatIsTooLongIsRefusedByItsLength) {
  const auto frame = next_frame(std::string_view("\xff\xff\xff\xff", 4), kMaxAnswerBytes);
  ASSERT_FALSE(frame);
  EXPECT_THAT(frame.error().message, HasSubstr("4294967295 bytes"));
  EXPECT_FALSE(next_frame(std::string_view("\0\0\0\0", 4), kMaxAnswerBytes));
}

TEST(Wire, HelloIsReadAsItWasWritten) {
  Hello ours = own_hello(std::string(kInstanceBytes, '\7'), "token");
  const std::string bytes = write_hello(ours);
  EXPECT_LE(bytes.size(), kMaxHelloBytes / 2);  // and room for a token
  const auto read = read_hello(fields_of(bytes));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, ours);
}

TEST(Wire, AskIsReadAsItWasWritten) {
  const Ask ask{.id = 3,
                .slo = "demo",
                .baseline = baseline_digest(question()),
                .rollout = "r1",
                .cursor = 12};
  const auto read = read_ask(fields_of(write_ask(ask)));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, ask);
  EXPECT_FALSE(read_ask(""));
}

TEST(Wire, AnswersAreReadAsTheyWereWritten) {
  std::vector<LentReading> readings;
  for (uint64_t number = 1; number <= kKeptReadings; ++number)
    readings.push_back(reading(number * 3));
  const LentEvidence evidence{.rollout = "r1", .log_e = -2.5, .samples = 99};
  const auto read = read_answer(fields_of(answer_of(readings, evidence)), dictionary());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->id, 7u);
  EXPECT_EQ(read->answer.state, State::Lends);
  ASSERT_EQ(read->answer.readings.size(), readings.size());
  for (size_t i = 0; i < readings.size(); ++i)
    EXPECT_TRUE(same(read->answer.readings[i], readings[i])) << i;
  ASSERT_TRUE(read->answer.evidence);
  EXPECT_EQ(read->answer.evidence->rollout, evidence.rollout);
  EXPECT_EQ(read->answer.evidence->log_e, evidence.log_e);
  EXPECT_EQ(read->answer.evidence->samples, evidence.samples);
}

// Numbers of drop reasons are each kernel's own, so only how many there were is said.
TEST(Wire, DropsArriveAsTheirSum) {
  LentReading dropped{.number = 1};
  dropped.halves[0].added.drops[5] = 2;
  dropped.halves[0].added.drops[70] = 3;
  const auto read = read_answer(fields_of(answer_of({dropped})), dictionary());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->answer.readings[0].halves[0].added.drops.total(), 5u);
}

// Whatever is cut off or changed is refused or read; never more, and never without a bound.
TEST(Wire, AnAnswerThatIsCutOffIsRefused) {
  const std::string bytes = answer_of({reading(1), reading(2)});
  const std::string_view fields = fields_of(bytes);
  size_t read = 0;
  for (size_t size = 0; size < fields.size(); ++size)
    read += read_answer(fields.substr(0, size), dictionary()) ? 1 : 0;
  EXPECT_EQ(read, 4u);  // where a field ends: after nothing, the id, the state, the first reading
}

TEST(Wire, WhatIsBeyondItsBoundIsNamed) {
  const auto number = [](uint64_t field, uint64_t value) {
    std::string half;
    FieldWriter(half).number(field, value);
    return with_half(half);
  };
  const auto bytes = [](uint64_t field, const std::string& value) {
    std::string half;
    FieldWriter(half).bytes(field, value);
    return with_half(half);
  };
  EXPECT_EQ(problem(with_half("")), "");
  EXPECT_THAT(problem(number(9, uint64_t{1} << 41)), HasSubstr("half: lost is 2199023255552"));
  EXPECT_THAT(problem(number(10, 9)), HasSubstr("half: gap is 9"));
  EXPECT_THAT(problem(number(8, 1)), HasSubstr("more cgroups are warming up"));
  EXPECT_THAT(problem(bytes(1, varints({0, SLOGATE_BUCKETS, 1}))),
              HasSubstr("histogram 0 has a place beyond 210"));
  EXPECT_THAT(problem(bytes(1, varints({0, SLOGATE_BUCKETS - 1, 1, 0, 1}))),
              HasSubstr("histogram 0 has a place beyond 210"));
  EXPECT_THAT(problem(bytes(1, varints({0, ~uint64_t{0}, 1}))), HasSubstr("has a place beyond"));
  EXPECT_THAT(problem(bytes(1, varints({0, 3, uint64_t{1} << 41}))),
              HasSubstr("the counts are beyond 2^40"));
  EXPECT_THAT(problem(bytes(1, varints({0, 3, uint64_t{1} << 40, 0, 1}))),
              HasSubstr("the counts are beyond 2^40"));
  EXPECT_EQ(problem(bytes(1, varints({0, 3, (uint64_t{1} << 40) - 1, 0, 1}))), "");
  EXPECT_THAT(problem(bytes(1, varints({0, 3}))), HasSubstr("histogram 0 is cut off"));
  EXPECT_THAT(problem(bytes(9, "x")), HasSubstr("field 9 is of another kind"));
}

// Each half alone may have 2^40: two of them are read into sums of their own.
TEST(Wire, EvidenceHasToBeANumber) {
  for (const double log_e :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1e10})
    EXPECT_THAT(problem(fields_of(answer_of({}, LentEvidence{.log_e = log_e}))),
                HasSubstr("log_e"));
}

TEST(Wire, ReadingsComeInTheOrderOfTheirNumbers) {
  EXPECT_THAT(problem(fields_of(answer_of({reading(2), reading(2)}))), HasSubstr("out of order"));
  EXPECT_THAT(problem(fields_of(answer_of({reading(3), reading(2)}))), HasSubstr("out of order"));
  std::vector<LentReading> many;
  for (uint64_t number = 1; number <= kKeptReadings + 1; ++number)
    many.push_back({.number = number});
  EXPECT_THAT(problem(fields_of(answer_of(many))), HasSubstr("too many readings"));
}

// The latest are what keeps a judge going.
TEST(Wire, AnAnswerHasTheLastReadingsThatFit) {
  const std::string big = write_reading(reading(1));
  const std::vector<std::string_view> parts(2 * kMaxAnswerBytes / big.size(), big);
  const std::string bytes = write_answer(1, State::Lends, parts, {});
  EXPECT_LE(bytes.size(), kMaxAnswerBytes + 4);
  EXPECT_GT(bytes.size() + big.size(), kMaxAnswerBytes);
}

// A later version may add what it likes, where a reader of today can pass over it.
TEST(Wire, FieldsOfALaterVersionArePassedOver) {
  std::string fields(fields_of(answer_of({reading(1)})));
  FieldWriter writer(fields);
  writer.number(90, 5);
  writer.bytes(91, "whatever");
  EXPECT_EQ(problem(fields), "");
  std::string half;
  FieldWriter(half).bytes(77, "more");
  EXPECT_EQ(problem(with_half(half)), "");
}

TEST(Wire, TheHighestCommonVersionIsSpoken) {
  Hello old = hello(), young = hello();
  old.oldest = 1, old.newest = 2;
  young.oldest = 2, young.newest = 5;
  EXPECT_EQ(common_version(old, young), 2u);
  EXPECT_EQ(common_version(young, old), 2u);
  young.oldest = 3;
  const auto none = common_version(young, old);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("it speaks versions 1 to 2, this agent 3 to 5"));
}

// Rows move from version to version: it is the names that count.
TEST(Wire, CountsOfAnotherVersionAreUnderstoodByName) {
  Hello theirs = hello();
  std::ranges::reverse(theirs.counters);
  std::ranges::reverse(theirs.signals);
  theirs.counters.insert(theirs.counters.begin(), "of_tomorrow");
  const auto dictionary = Dictionary::make(hello(), theirs);
  ASSERT_TRUE(dictionary) << dictionary.error().message;
  EXPECT_EQ(dictionary->counter(0), std::nullopt);
  EXPECT_EQ(dictionary->counter(1), size_t{SLOGATE_COUNTERS} - 1);
  EXPECT_EQ(dictionary->counter(SLOGATE_COUNTERS), 0u);
  EXPECT_EQ(dictionary->counter(SLOGATE_COUNTERS + 1), std::nullopt);
  EXPECT_EQ(dictionary->signal(0), size_t{SLOGATE_SIGNALS} - 1);

  LentReading lent{.number = 1};
  lent.halves[1].added.counters[0] = 4;  // of_tomorrow, as they number
  lent.halves[1].added.counters[1] = 5;
  lent.halves[1].added.histograms[0][9] = 6;
  const auto read = read_answer(fields_of(answer_of({lent})), *dictionary);
  ASSERT_TRUE(read);
  const Counts& added = read->answer.readings[0].halves[1].added;
  EXPECT_EQ(added.counters[SLOGATE_COUNTERS - 1], 5u);
  EXPECT_EQ(added.counters[0], 0u);
  EXPECT_EQ(added.histograms[SLOGATE_SIGNALS - 1][9], 6u);
}

// An error that only one of the two counts would make its baseline look better than it is.
TEST(Wire, ALenderThatCountsOtherwiseIsRefused) {
  Hello theirs = hello();
  const auto errors = std::ranges::find(theirs.judged, "errors", &JudgedDigest::name);
  ASSERT_NE(errors, theirs.judged.end());
  ++errors->digest;
  const auto other = Dictionary::make(hello(), theirs);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message, "it does not count errors as this agent does");
  theirs.judged.erase(errors);
  EXPECT_FALSE(Dictionary::make(hello(), theirs));
  // What only they judge is nothing to us.
  theirs = hello();
  theirs.judged.push_back({"of_tomorrow", 1});
  EXPECT_TRUE(Dictionary::make(hello(), theirs));
}

TEST(Wire, ARefusalIsSafeToPrint) {
  EXPECT_EQ(read_refusal(fields_of(write_refusal("no\x1b[2J\n"))), "no?[2J?");
  EXPECT_EQ(read_refusal("\xff"), "a reason that cannot be read");
}

// What a pair costs, and a lender's memory: docs/performance.md.
TEST(Wire, AReadingOfABusyServiceIsAFewHundredBytes) {
  const size_t bytes = write_reading(busy_reading(1)).size();
  RecordProperty("bytes", static_cast<int>(bytes));
  EXPECT_GT(bytes, 50u);
  EXPECT_LT(bytes, 300u);
}

}  // namespace
}  // namespace slogate
