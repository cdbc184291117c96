// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "maps/owner_events.h"

namespace slogate {
namespace {

slogate_owner_event event_of(std::initializer_list<std::string_view> leaf_first) {
  slogate_owner_event event{};
  for (const std::string_view part : leaf_first) {
    std::memcpy(event.path + event.bytes, part.data(), part.size());
    event.bytes += static_cast<uint32_t>(part.size()) + 1;
    ++event.parts;
  }
  return event;
}

TEST(OwnerPath, JoinsPartsFromTheRoot) {
  EXPECT_EQ(owner_path(event_of({"c", "b", "a"})), "/a/b/c");
  EXPECT_EQ(owner_path(event_of({})), "/");
}

TEST(OwnerPath, RefusesWhatCannotBeAPath) {
  slogate_owner_event event = event_of({"b", "a"});
  event.truncated = 1;
  EXPECT_FALSE(owner_path(event).has_value());
  event = event_of({"b", "a"});
  event.parts = 3;
  EXPECT_FALSE(owner_path(event).has_value());
  event = event_of({"b"});
  event.bytes = UINT32_MAX;
  EXPECT_FALSE(owner_path(event).has_value());
  event = event_of({"b"});
  event.parts = UINT32_MAX;
  EXPECT_FALSE(owner_path(event).has_value());
}

}  // namespace
}  // namespace slogate
