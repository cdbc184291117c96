// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/lending.h"

#include <gtest/gtest.h>

#include "tests/unit/peers/support.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using State = LentAnswer::State;

LentAnswer ask(const LentBook& book, const LentQuestion& of, uint64_t cursor) {
  const std::string bytes = book.answer({.id = 1,
                                         .slo = of.slo,
                                         .baseline = baseline_digest(of),
                                         .rollout = of.rollout,
                                         .cursor = cursor});
  auto read = read_answer(fields_of(bytes), dictionary());
  EXPECT_TRUE(read) << read.error().message;
  return read ? std::move(read->answer) : LentAnswer{};
}

std::vector<uint64_t> numbers(const LentAnswer& answer) {
  std::vector<uint64_t> all;
  for (const LentReading& one : answer.readings) all.push_back(one.number);
  return all;
}

void lend(LentBook& book, const LentQuestion& of, uint64_t number,
          std::chrono::nanoseconds now = 0s) {
  book.add({.readings = {{of, reading(number)}}, .evidence = {}}, now);
}

TEST(LentBook, AnswersWithWhatCameAfterTheCursor) {
  LentBook book;
  for (uint64_t number = 1; number <= 5; ++number) lend(book, question(), number);
  EXPECT_EQ(numbers(ask(book, question(), 0)), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(numbers(ask(book, question(), 3)), (std::vector<uint64_t>{4, 5}));
  const LentAnswer nothing = ask(book, question(), 5);
  EXPECT_EQ(nothing.state, State::Lends);
  EXPECT_TRUE(nothing.readings.empty());
}

TEST(LentBook, KeepsTheLastReadings) {
  LentBook book;
  for (uint64_t number = 1; number <= 400; ++number) lend(book, question(), number);
  const auto kept = numbers(ask(book, question(), 0));
  ASSERT_EQ(kept.size(), kKeptReadings);
  EXPECT_EQ(kept.front(), 400 - kKeptReadings + 1);
  EXPECT_EQ(kept.back(), 400u);
}

TEST(LentBook, SaysWhyItHasNothing) {
  LentBook book;
  EXPECT_EQ(ask(book, question(), 0).state, State::NoSuchSlo);
  lend(book, question(), 1);
  LentQuestion other = question();
  other.baseline += "; port 1";
  EXPECT_EQ(ask(book, other, 0).state, State::OtherQuestion);
  EXPECT_TRUE(ask(book, other, 0).readings.empty());
}

// The numbers begin anew, or others are meant: what was before would be taken for more of it.
TEST(LentBook, ForgetsWhatIsOfAnotherRunOrQuestion) {
  LentBook book;
  lend(book, question(), 8);
  lend(book, question(), 9);
  lend(book, question(), 1);
  EXPECT_EQ(numbers(ask(book, question(), 0)), std::vector<uint64_t>{1});
  LentQuestion other = question();
  other.baseline += "; port 1";
  lend(book, other, 2);
  EXPECT_EQ(ask(book, question(), 0).state, State::OtherQuestion);
  EXPECT_EQ(numbers(ask(book, other, 0)), std::vector<uint64_t>{2});
}

// Another revision of the canary leaves the baseline what it was.
TEST(LentBook, ABaselineOutlivesARollout) {
  LentBook book;
  lend(book, question(), 1);
  LentQuestion next = question();
  next.rollout = "r2";
  lend(book, next, 2);
  EXPECT_EQ(numbers(ask(book, question(), 0)), (std::vector<uint64_t>{1, 2}));
}

TEST(LentBook, EvidenceIsOfTheRolloutThatIsAskedFor) {
  LentBook book;
  book.add({.readings = {}, .evidence = {{"demo", {.rollout = "r1", .log_e = 2, .samples = 3}}}},
           0s);
  const LentAnswer answer = ask(book, question(), 0);
  EXPECT_EQ(answer.state, State::Lends);
  ASSERT_TRUE(answer.evidence);
  EXPECT_EQ(answer.evidence->log_e, 2);
  LentQuestion next = question();
  next.rollout = "r2";
  EXPECT_FALSE(ask(book, next, 0).evidence);
  book.add({}, 0s);  // as of now there is none
  EXPECT_EQ(ask(book, question(), 0).state, State::NoSuchSlo);
}

TEST(LentBook, ForgetsAnSloThatIsGone) {
  LentBook book;
  lend(book, question("a"), 1, 0s);
  lend(book, question("b"), 1, 20s);
  EXPECT_EQ(book.slos(), 2u);
  lend(book, question("b"), 2, 40s);
  EXPECT_EQ(book.slos(), 1u);
  EXPECT_EQ(ask(book, question("a"), 0).state, State::NoSuchSlo);
}

TEST(LentBook, ItsMemoryIsBoundedWhateverTheSlos) {
  constexpr size_t most = 200'000;
  LentBook book(most);
  for (uint64_t number = 1; number <= kKeptReadings; ++number)
    for (int slo = 0; slo < 50; ++slo) lend(book, question(std::to_string(slo)), number);
  EXPECT_LE(book.bytes(), most);
  EXPECT_GT(book.bytes(), most / 2);
  for (int slo = 0; slo < 50; ++slo) {
    const auto kept = numbers(ask(book, question(std::to_string(slo)), 0));
    ASSERT_FALSE(kept.empty()) << slo;
    EXPECT_EQ(kept.back(), kKeptReadings);
  }
}

TEST(Tray, KeepsTheLatest) {
  Tray<int> tray(3);
  for (int i = 0; i < 5; ++i) tray.put(i);
  EXPECT_TRUE(tray.is_full());
  EXPECT_EQ(tray.take(), (std::deque<int>{2, 3, 4}));
  EXPECT_TRUE(tray.take().empty());
}

}  // namespace
}  // namespace slogate
