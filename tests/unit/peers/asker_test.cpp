// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/asker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/peers/support.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using State = LentAnswer::State;
using Time = Asker::Time;
using What = Lent::What;

Candidate candidate(int number) {
  return {.address = fmt::format("10.0.0.{}:9938", number), .name = fmt::format("node-{}", number)};
}
std::vector<Candidate> candidates(int how_many) {
  std::vector<Candidate> all;
  for (int i = 1; i <= how_many; ++i) all.push_back(candidate(i));
  return all;
}

// An asker, a clock, and peers that lend a reading with every answer unless they are told
// otherwise.
class World {
 public:
  explicit World(int peers, size_t lenders = 8) {
    asker.set_lenders(lenders);
    asker.set_peers(candidates(peers), now);
  }

  enum class Manner { Lends, Slow, Silent, Unreachable, NoSuchSlo, Other, Behind, Repeats };
  std::map<std::string, Manner> manners;

  void pass(Time time) {
    for (const Time end = now + time; now < end; now += Asker::kAskInterval) {
      asker.want(baselines, rollouts, now);
      const Asker::Work work = asker.step(now);
      for (const auto& address : work.disconnect) open.erase(address);
      for (const auto& address : work.connect) connect(address);
      for (const auto& [address, asks] : work.asks)
        for (const Ask& ask : asks) answer(address, ask);
      for (Lent& one : asker.take()) heard.push_back(std::move(one));
    }
  }
  void connect(const std::string& address) {
    ++connects[address];
    if (manners[address] == Manner::Unreachable)
      return asker.closed(address, "Connection refused", now);
    open.insert(address);
    asker.opened(address, now);
  }
  void answer(const std::string& address, const Ask& ask) {
    ++asked[address];
    const Manner manner = manners[address];
    if (manner == Manner::Slow) return;
    Answer answer{.id = ask.id, .answer = {}};
    if (manner == Manner::NoSuchSlo) answer.answer.state = State::NoSuchSlo;
    if (manner == Manner::Other) answer.answer.state = State::OtherQuestion;
    if (manner == Manner::Lends) answer.answer.readings = {reading(ask.cursor + 1)};
    if (manner == Manner::Behind) answer.answer.readings = {reading(ask.cursor + 5)};
    if (manner == Manner::Repeats)
      answer.answer.readings = {reading(std::max<uint64_t>(ask.cursor, 1))};
    if (ask.cursor == kNoReadings) answer.answer.readings.clear();
    if (const auto done = asker.answered(address, std::move(answer), now); !done) {
      open.erase(address);
      asker.closed(address, done.error().message, now);
    }
  }

  // Who lends now, as the judge knows it.
  [[nodiscard]] std::set<std::string> lenders() const {
    std::set<std::string> names;
    for (const Lent& one : heard) {
      if (one.what == What::Answered && one.answer.state == State::Lends) names.insert(one.lender);
      if (one.what == What::Dropped) names.erase(one.lender);
    }
    return names;
  }
  [[nodiscard]] PeerStatus status(int number) const {
    for (PeerStatus& one : asker.status(now))
      if (one.address == candidate(number).address) return one;
    return {};
  }

  Time now = 100s;
  Asker asker{1};
  std::vector<LentQuestion> baselines = {question()}, rollouts;
  std::set<std::string> open;
  std::map<std::string, int> asked, connects;
  std::vector<Lent> heard;
};

TEST(Asker, AsksSomeOfManyFourTimesASecondAndKeepsThem) {
  World world(100);
  world.pass(1s);
  const auto first = world.lenders();
  EXPECT_THAT(first, SizeIs(8));
  EXPECT_THAT(world.open, SizeIs(8));
  world.pass(59s);
  EXPECT_EQ(world.lenders(), first);
  EXPECT_THAT(world.asked, SizeIs(8));
  for (const auto& [address, times] : world.asked) EXPECT_NEAR(times, 240, 2) << address;
}

TEST(Asker, ChoosesAtRandom) {
  std::set<std::string> chosen;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Asker asker(seed);
    asker.set_lenders(1);
    asker.set_peers(candidates(10), 0s);
    asker.want({question()}, {}, 0s);
    for (const auto& address : asker.step(0s).connect) chosen.insert(address);
  }
  EXPECT_GT(chosen.size(), 6u);
}

TEST(Asker, TellsOfEveryReadingOnceInTheirOrder) {
  World world(1);
  world.pass(10s);
  uint64_t next = 1;
  for (const Lent& one : world.heard)
    for (const LentReading& reading : one.answer.readings) EXPECT_EQ(reading.number, next++);
  EXPECT_GT(next, 35u);
}

TEST(Asker, SeveralSlosShareAConnection) {
  World world(1);
  world.baselines = {question("a"), question("b"), question("c")};
  world.pass(10s);
  EXPECT_EQ(world.connects[candidate(1).address], 1);
  EXPECT_NEAR(world.asked[candidate(1).address], 120, 3);
}

TEST(Asker, ReplacesOneThatIsSlow) {
  World world(2, 1);
  world.manners[candidate(1).address] = World::Manner::Slow;
  world.manners[candidate(2).address] = World::Manner::Slow;
  world.pass(2s);
  const std::string slow = *world.open.begin();
  const std::string other = candidate(slow == candidate(1).address ? 2 : 1).address;
  world.manners[other] = World::Manner::Lends;
  world.pass(2s);
  EXPECT_THAT(world.open, ElementsAre(other));
  EXPECT_THAT(world.lenders(), SizeIs(1));
  world.pass(60s);
  EXPECT_EQ(world.asked[slow], 1);  // the other one lends: nobody looks for a third
}

TEST(Asker, ReplacesOneThatHasNothingNew) {
  World world(2, 1);
  world.pass(1s);
  const std::string first = *world.open.begin();
  world.manners[first] = World::Manner::Silent;
  world.pass(2500ms);
  EXPECT_EQ(world.heard.back().what, What::Answered);
  world.pass(2s);
  ASSERT_THAT(world.lenders(), SizeIs(1));
  const int number = first == candidate(1).address ? 1 : 2;
  EXPECT_NE(*world.lenders().begin(), candidate(number).name);
  EXPECT_EQ(world.status(number).reason, "nothing of the baseline was read there for 3 s");
}

// It tells of it, too: the judge begins anew with that lender, or holds.
TEST(Asker, DropsOneWhoseReadingsWereLost) {
  World world(1);
  world.pass(1s);
  world.manners[candidate(1).address] = World::Manner::Behind;
  world.pass(250ms);
  EXPECT_EQ(world.heard.back().what, What::Dropped);
  EXPECT_EQ(world.status(1).reason, "readings of it were lost");
}

TEST(Asker, ClosesOneThatRepeatsItself) {
  World world(1);
  world.pass(1s);
  world.manners[candidate(1).address] = World::Manner::Repeats;
  world.pass(250ms);
  EXPECT_THAT(world.open, IsEmpty());
  EXPECT_EQ(world.status(1).reason, "it repeats readings");
  EXPECT_THAT(world.lenders(), IsEmpty());
}

TEST(Asker, RefusesAnswersToNothing) {
  World world(1);
  world.pass(1s);
  EXPECT_FALSE(world.asker.answered(candidate(1).address, {.id = 99999, .answer = {}}, world.now));
}

TEST(Asker, ShowsThoseThatRefuseAndAsksThemSeldom) {
  World world(2);
  world.manners[candidate(1).address] = World::Manner::NoSuchSlo;
  world.manners[candidate(2).address] = World::Manner::Other;
  world.pass(1s);
  std::map<std::string, State> said;
  for (const Lent& one : world.heard) {
    if (one.what == What::Answered) said[one.lender] = one.answer.state;
    EXPECT_NE(one.what, What::Dropped);
  }
  EXPECT_EQ(said["node-1"], State::NoSuchSlo);
  EXPECT_EQ(said["node-2"], State::OtherQuestion);
  world.pass(10min);
  EXPECT_LT(world.asked[candidate(1).address], 10);
  EXPECT_GT(world.asked[candidate(1).address], 2);
}

// Twice as long with each time, and never longer than a few minutes.
TEST(Asker, TriesAgainLessAndLessOften) {
  World world(1);
  world.manners[candidate(1).address] = World::Manner::Unreachable;
  world.pass(60s);
  const int first = world.connects[candidate(1).address];
  EXPECT_GE(first, 4);
  EXPECT_LE(first, 9);
  world.pass(1h);
  const int later = world.connects[candidate(1).address] - first;
  EXPECT_GE(later, 7);
  EXPECT_LE(later, 28);
  EXPECT_EQ(world.status(1).reason, "Connection refused");
  world.manners[candidate(1).address] = World::Manner::Lends;
  world.pass(8min);
  EXPECT_THAT(world.lenders(), SizeIs(1));
}

TEST(Asker, ComesBackSoonToOneThatWasGood) {
  World world(1);
  world.pass(5min);
  world.open.clear();
  world.asker.closed(candidate(1).address, "it closed the connection", world.now);
  world.pass(4s);
  EXPECT_THAT(world.lenders(), SizeIs(1));
  EXPECT_EQ(world.connects[candidate(1).address], 2);
}

TEST(Asker, NeverAsksItself) {
  World world(1);
  world.asker.want(world.baselines, {}, world.now);
  (void)world.asker.step(world.now);
  world.asker.is_self(candidate(1).address, world.now);
  world.pass(1h);
  EXPECT_EQ(world.connects[candidate(1).address], 0);
  EXPECT_EQ(world.status(1).state, "self");
}

TEST(Asker, GoesOnForAWhileWhereNothingIsWantedAnyMore) {
  World world(1);
  world.pass(1s);
  world.baselines.clear();
  world.pass(5s);
  world.baselines = {question()};
  world.pass(5s);
  EXPECT_EQ(world.connects[candidate(1).address], 1);
  EXPECT_TRUE(
      std::ranges::none_of(world.heard, [](const Lent& one) { return one.what == What::Dropped; }));
  world.baselines.clear();
  world.pass(12s);
  EXPECT_EQ(world.heard.back().what, What::Dropped);
  world.pass(60s);
  EXPECT_THAT(world.open, IsEmpty());
}

TEST(Asker, DropsWhoIsNoLongerListed) {
  World world(3);
  world.pass(1s);
  EXPECT_THAT(world.lenders(), SizeIs(3));
  world.asker.set_peers({candidate(2)}, world.now);
  world.pass(1s);
  EXPECT_THAT(world.lenders(), ElementsAre("node-2"));
}

TEST(Asker, AnotherBaselineIsAskedForAnew) {
  World world(1);
  world.pass(1s);
  world.heard.clear();
  world.baselines[0].baseline += "; port 1";
  world.pass(2s);
  ASSERT_FALSE(world.heard.empty());
  EXPECT_EQ(world.heard.front().what, What::Dropped);
  const auto first = std::ranges::find(world.heard, What::Answered, &Lent::what);
  ASSERT_NE(first, world.heard.end());
  EXPECT_EQ(first->answer.readings.front().number, 1u);
}

TEST(Asker, AsksKubernetesNodesBySlo) {
  World world(0);
  world.asker.set_candidates({{"demo", {.lenders = {candidate(1)}, .witnesses = {candidate(2)}}},
                              {"other", {.lenders = {candidate(3)}, .witnesses = {}}}},
                             world.now);
  world.rollouts = {question()};
  world.pass(2s);
  EXPECT_THAT(world.open, ElementsAre(candidate(1).address, candidate(2).address));
  EXPECT_THAT(world.lenders(), ElementsAre("node-1"));
}

// Of witnesses the evidence alone is of interest, and it may be long in coming.
TEST(Asker, AWitnessIsAskedUntilItHasEvidence) {
  Asker asker(1);
  asker.set_candidates({{"demo", {.lenders = {}, .witnesses = {candidate(1)}}}}, 0s);
  const std::string address = candidate(1).address;
  const auto step = [&](Time now, std::optional<LentEvidence> evidence) {
    asker.want({}, {question()}, now);
    auto work = asker.step(now);
    if (!work.connect.empty()) asker.opened(address, now);
    for (const Ask& ask : work.asks[address]) {
      const State state = evidence ? State::Lends : State::NoSuchSlo;
      EXPECT_TRUE(asker.answered(
          address, {.id = ask.id, .answer = {.state = state, .readings = {}, .evidence = evidence}},
          now));
    }
    return asker.take();
  };
  for (Time now = 0s; now < 1min; now += Asker::kAskInterval)
    EXPECT_THAT(step(now, std::nullopt), IsEmpty());
  const auto heard = step(1min, LentEvidence{.rollout = "r1", .log_e = 3, .samples = 9});
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].lender, "node-1");
  EXPECT_EQ(heard[0].answer.evidence->log_e, 3);
}

TEST(Asker, AWitnessMayBecomeALender) {
  World world(0);
  world.asker.set_candidates({{"demo", {.lenders = {candidate(1)}, .witnesses = {candidate(1)}}}},
                             world.now);
  world.rollouts = world.baselines;
  world.baselines.clear();
  world.pass(2s);
  EXPECT_THAT(world.open, SizeIs(1));
  EXPECT_THAT(world.heard, IsEmpty());
  world.baselines = world.rollouts;
  world.pass(2s);
  EXPECT_TRUE(std::ranges::any_of(world.heard,
                                  [](const Lent& one) { return !one.answer.readings.empty(); }));
  EXPECT_EQ(world.connects[candidate(1).address], 1);
}

TEST(Asker, ItsConnectionsAreBoundedWhateverTheSlos) {
  World world(1000, 8);
  world.baselines.clear();
  for (int i = 0; i < 300; ++i) world.baselines.push_back(question(fmt::format("slo-{}", i)));
  world.pass(5s);
  EXPECT_LE(world.open.size(), 128u);
  EXPECT_GT(world.open.size(), 100u);
}

}  // namespace
}  // namespace slogate
