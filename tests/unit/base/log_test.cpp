// SPDX-License-Identifier: Apache-2.0
#include "agent/base/log.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

TEST(Log, SaysOnceWhatIsWrongAndRemembersIt) {
  testing::internal::CaptureStderr();
  for (const char* problem : {"", "full", "full", "gone", "", ""}) {
    log_change("test", problem);
    EXPECT_EQ(current_problems()["test"], problem);
  }
  EXPECT_EQ(
      testing::internal::GetCapturedStderr(),
      "slogate-agent: test: full\nslogate-agent: test: gone\nslogate-agent: test: well again\n");
}

}  // namespace
}  // namespace slogate
