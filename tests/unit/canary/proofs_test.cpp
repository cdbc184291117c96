// SPDX-License-Identifier: Apache-2.0
// Proof at the two edges of a tie.
#include "agent/canary/proofs.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

constexpr size_t kComponents = 2 * Grid{}.size();
constexpr Components kSecond = Components{}.level(1);

// One block in which every component gained as much, at each of the two edges.
void add(Proofs& proofs, double at, double next) {
  proofs.add({std::vector<double>(kComponents, at), std::vector<double>(kComponents, next)});
}

// By chance little happens at one edge or at the other: the lesser gain of each block adds up to a
// loss, and each edge's own gains to proof.
TEST(Proofs, EachEdgeAddsUpOnItsOwn) {
  Proofs proofs(kComponents);
  for (int i = 0; i < 8; ++i) add(proofs, i % 2 == 0 ? 1 : -0.2, i % 2 == 0 ? -0.2 : 1);
  EXPECT_NEAR(proofs.of(kSecond), 3.2, 1e-9);
  EXPECT_GE(proofs.of(kSecond), kProofThreshold);
}

TEST(Proofs, ALevelIsProvenWhereBothEdgesAre) {
  Proofs proofs(kComponents);
  for (int i = 0; i < 8; ++i) add(proofs, 1, 0.1);
  EXPECT_GE(proofs.at(0, kSecond), kProofThreshold);
  EXPECT_NEAR(proofs.of(kSecond), 0.8, 1e-9);
}

TEST(Proofs, ABlockCountsForNoMoreThanTheCap) {
  Proofs proofs(kComponents);
  add(proofs, 50, 50);
  EXPECT_NEAR(proofs.of(kSecond), kCap, 1e-9);
}

TEST(Proofs, WhatWasShownAtOneEdgeStaysUntilAsMuchSpeaksAgainstIt) {
  Proofs proofs(kComponents);
  for (int i = 0; i < 4; ++i) add(proofs, 1, 0);
  for (int i = 0; i < 4; ++i) add(proofs, -0.9, 1);
  EXPECT_NEAR(proofs.of(kSecond), 4, 1e-9) << "shown at one edge first, then at the other";
  add(proofs, -0.5, 0);
  EXPECT_LT(proofs.of(kSecond), 0);
}

TEST(Proofs, WhatIsForgottenHasToBeProvenAnew) {
  Proofs proofs(kComponents);
  for (int i = 0; i < 4; ++i) add(proofs, 1, 1);
  add(proofs, -2, -2);
  EXPECT_NEAR(proofs.of(kSecond), 4, 1e-9);
  proofs.forget_shown();
  EXPECT_NEAR(proofs.of(kSecond), 2, 1e-9);
}

// What was added up before a tie was found is of one of its edges.
TEST(Proofs, TheNewEdgeOfATieBeginsWithNothingAndKeepsWhatIsAgainstIt) {
  Proofs proofs(kComponents);
  for (int i = 0; i < 4; ++i) add(proofs, 1, 1);
  proofs.begin_anew(1, kSecond);
  EXPECT_EQ(proofs.of(kSecond), 0);
  EXPECT_NEAR(proofs.at(0, kSecond), 4, 1e-9);
  EXPECT_NEAR(proofs.of(Components{}.level(0)), 4, 1e-9) << "another level";
  Proofs poor(kComponents);
  add(poor, -1, -1);
  poor.begin_anew(1, kSecond);
  EXPECT_NEAR(poor.of(kSecond), -1, 1e-9);
}

TEST(Proofs, TheNewEdgeOfATieIsTheFartherOne) {
  const LevelEdge single{.at = 40}, above{.at = 40, .next = 56}, below{.at = 24, .next = 40};
  EXPECT_EQ(new_edge(single, above), 1);
  EXPECT_EQ(new_edge(single, below), 0);
  EXPECT_EQ(new_edge(LevelEdge{.at = 41}, above), 1) << "a quantile moves by a bucket";
  EXPECT_EQ(new_edge(single, LevelEdge{.at = 41}), std::nullopt);
  EXPECT_EQ(new_edge(above, single), std::nullopt);
  EXPECT_EQ(new_edge(above, below), std::nullopt);
  EXPECT_EQ(new_edge(std::nullopt, above), std::nullopt) << "nothing was added up";
}

}  // namespace
}  // namespace slogate
