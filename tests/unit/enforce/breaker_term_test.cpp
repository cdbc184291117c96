// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/breaker_term.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

using namespace std::chrono_literals;

class BreakerTermTest : public testing::Test {
 protected:
  // So long after the beginning, by both clocks.
  bool look(std::chrono::seconds at) { return term_.look(said_, {epoch_ + at, 100h + at}); }

  std::chrono::system_clock::time_point epoch_ = {};
  BreakerCase said_{.rollout = "one", .since = epoch_, .max = 10min};
  BreakerTerm term_;
};

TEST_F(BreakerTermTest, IsOpenForAVetoAndNothingElse) {
  EXPECT_FALSE(look(0s));
  EXPECT_EQ(term_.why(), "");
  said_.vetoed = true;
  EXPECT_TRUE(look(1s));
  EXPECT_EQ(term_.why(), "");
  said_.vetoed = false;
  EXPECT_FALSE(look(2s));
}

TEST_F(BreakerTermTest, AtMostForItsTimeAndOnceForARollout) {
  said_.vetoed = true;
  EXPECT_TRUE(look(0s));
  EXPECT_EQ(term_.until(), 100h + 10min);
  EXPECT_TRUE(look(599s));
  EXPECT_FALSE(look(600s));
  EXPECT_FALSE(look(10000s));
  EXPECT_NE(term_.why(), "");
  said_.rollout = "two";
  said_.since = epoch_ + 10001s;
  EXPECT_TRUE(look(10001s));
}

// An agent that was started again under a veto goes on where the one before it was.
TEST_F(BreakerTermTest, HasWhatIsLeftSinceTheVeto) {
  said_.vetoed = true;
  EXPECT_TRUE(look(540s));
  EXPECT_TRUE(look(599s));
  EXPECT_FALSE(look(600s));
  BreakerTerm late;
  EXPECT_FALSE(late.look(said_, {epoch_ + 1h, 200h}));
  EXPECT_FALSE(late.look(said_, {epoch_ + 1h, 200h + 1s}));
}

TEST_F(BreakerTermTest, AClockThatIsSetMakesItNoLonger) {
  said_.vetoed = true;
  said_.since = epoch_ + 100h;
  EXPECT_TRUE(look(0s));
  EXPECT_EQ(term_.until(), 100h + 10min);
  // Set back while it is open.
  EXPECT_FALSE(term_.look(said_, {epoch_ - 100h, 100h + 10min}));
}

TEST_F(BreakerTermTest, AnObstacleKeepsItClosedAndClosesNothing) {
  said_.vetoed = true;
  said_.obstacle = "of an agent before";
  EXPECT_FALSE(look(0s));
  EXPECT_EQ(term_.why(), "of an agent before");
  said_.obstacle = "";
  EXPECT_TRUE(look(1s));
  said_.obstacle = "another";
  EXPECT_TRUE(look(2s));
  said_.rollout = "two";
  EXPECT_FALSE(look(3s));
}

TEST_F(BreakerTermTest, WhatClosesItLetsItOpenAgainForWhatIsLeft) {
  said_.vetoed = true;
  EXPECT_TRUE(look(0s));
  said_.barrier = "away";
  EXPECT_TRUE(look(1s));
  said_.must_close = "nobody is left";
  EXPECT_FALSE(look(2s));
  EXPECT_EQ(term_.why(), "nobody is left");
  said_.must_close = "";
  EXPECT_FALSE(look(3s));
  EXPECT_EQ(term_.why(), "away");
  said_.barrier = "";
  EXPECT_TRUE(look(4s));
  EXPECT_EQ(term_.until(), 100h + 10min);
}

TEST_F(BreakerTermTest, ByHandOneObstacleIsPassedOverAndNoBarrier) {
  said_.vetoed = true;
  said_.obstacle = "of another kind";
  said_.barrier = "away";
  look(0s);
  term_.open_by_hand({epoch_, 100h}, 10min);
  EXPECT_FALSE(look(1s));
  EXPECT_EQ(term_.why(), "away");
  said_.barrier = "";
  EXPECT_TRUE(look(2s));
}

TEST_F(BreakerTermTest, ByHandItGoesOverWhatIsSaid) {
  look(0s);
  term_.open_by_hand({epoch_ + 1h, 100h + 1h}, 10min);
  EXPECT_TRUE(look(3601s));
  EXPECT_FALSE(look(4200s));
  // Again, though it was open in this rollout.
  term_.open_by_hand({epoch_ + 2h, 100h + 2h}, 10min);
  EXPECT_TRUE(look(7201s));
  said_.vetoed = true;
  term_.close_by_hand();
  EXPECT_FALSE(look(7202s));
  EXPECT_NE(term_.why(), "");
  EXPECT_TRUE(term_.is_by_hand());
  // Nothing of it is left in the next rollout.
  said_.rollout = "two";
  said_.since = epoch_ + 2h;
  EXPECT_TRUE(look(7203s));
  EXPECT_FALSE(term_.is_by_hand());
}

}  // namespace
}  // namespace slogate
