// SPDX-License-Identifier: Apache-2.0
#include "agent/http/http_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace slogate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Target, PathAndQueryAreDecoded) {
  const auto target =
      parse_target("/v1/a%20b+c%2fd?match=%2Fx%2F**&x=a+b%2B&flag&empty=&&=v&q=a=b");
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->path, "/v1/a b+c/d");
  EXPECT_THAT(target->query,
              ElementsAre(Pair("match", "/x/**"), Pair("x", "a b+"), Pair("flag", ""),
                          Pair("empty", ""), Pair("", "v"), Pair("q", "a=b")));
}

TEST(Target, AnEmptyQueryIsNone) {
  for (const char* text : {"/v1", "/v1?", "/v1?&"}) {
    const auto target = parse_target(text);
    ASSERT_TRUE(target.has_value()) << text;
    EXPECT_EQ(target->path, "/v1") << text;
    EXPECT_THAT(target->query, IsEmpty()) << text;
  }
}

TEST(Target, RefusesWhatIsNone) {
  for (const char* text : {"", "*", "http://h/v1", "/%", "/%4", "/%zz", "/%+1", "/% 1", "/%-1",
                           "/%00", "/%0a", "/?a=%0d", "/?%1f=", "/?a=%", "/\x7f"})
    EXPECT_FALSE(parse_target(text).has_value()) << text;
}

TEST(ErrorResponse, EscapesWhatItQuotes) {
  const HttpResponse response = error_response(400, "bad \"\n<\xff>");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"error\":\"bad \\\"\\n<\xef\xbf\xbd>\"}\n");
}

TEST(ErrorResponse, MethodNotAllowedSaysWhatIs) {
  const HttpResponse response = method_not_allowed("GET, HEAD");
  EXPECT_EQ(response.status, 405);
  EXPECT_THAT(response.headers, ElementsAre(Pair("Allow", "GET, HEAD")));
  EXPECT_TRUE(nlohmann::json::parse(response.body).contains("error"));
}

}  // namespace
}  // namespace slogate
