// SPDX-License-Identifier: Apache-2.0
// That no object has a map, a constant or a program of which the agent does not know.
#include "agent/measure/program_objects.h"

#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "maps/shared_maps.h"
#include "tests/support/astray.skel.h"

namespace slogate {
namespace {

using testing::HasSubstr;

constexpr ProgramObject kAstray = {"astray", astray_bpf__elf_bytes};

OpenObject open(const ProgramObject& object) {
  auto opened = open_object(object);
  EXPECT_TRUE(opened.has_value()) << opened.error().line();
  return std::move(*opened);
}

// With what the compiler and libbpf call it, which depends on their versions.
bpf_map* find_map(const bpf_object& object, std::string_view suffix) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (std::string_view(bpf_map__name(map)).ends_with(suffix)) return map;
  }
  return nullptr;
}

std::string constants_in(const bpf_object& object) {
  size_t size = 0;
  const void* memory = bpf_map__initial_value(find_map(object, ".rodata"), &size);
  return {static_cast<const char*>(memory), size};
}

TEST(ProgramObjects, AreThoseOfTheRows) {
  std::set<std::string_view> rows, objects;
  for (const ProbeInfo& info : kProbes) rows.insert(info.object);
  for (const ProgramObject& object : program_objects()) objects.insert(object.name);
  EXPECT_EQ(objects, rows);
  EXPECT_EQ(program_objects().size(), objects.size());
}

TEST(ProgramObjects, HaveTheProgramsOfTheirRows) {
  for (const ProgramObject& object : program_objects()) {
    const auto known = require_rows(*open(object), object.name);
    EXPECT_TRUE(known.has_value()) << known.error().line();
  }
}

TEST(ProgramObjects, HaveNoMapOfTheirOwn) {
  const auto names = shared_map_names();
  ASSERT_TRUE(names.has_value()) << names.error().line();
  const auto is_shared = [&](std::string_view name) {
    return std::ranges::find(*names, name) != names->end();
  };
  for (const ProgramObject& object : program_objects()) {
    const auto shared = require_shared(*open(object), is_shared);
    EXPECT_TRUE(shared.has_value()) << shared.error().line();
  }
  // And the list is what decides.
  const auto none = [](std::string_view) { return false; };
  EXPECT_FALSE(require_shared(*open(program_objects().front()), none).has_value());
}

TEST(ProgramObjects, TakeTheirConstants) {
  KernelFeatures features;
  features.drop_reasons = {"NOT_SPECIFIED", "NO_SOCKET"};
  const std::vector<Constant> constants = constants_of(features, 0x01020304);
  const std::string epoch = constants.front().bytes;
  ASSERT_EQ(epoch.size(), 4u);
  for (const ProgramObject& info : program_objects()) {
    SCOPED_TRACE(info.name);
    const OpenObject object = open(info);
    EXPECT_THAT(constants_in(*object), Not(HasSubstr(epoch)));
    const auto done = set_constants(*object, constants);
    ASSERT_TRUE(done.has_value()) << done.error().line();
    EXPECT_THAT(constants_in(*object), HasSubstr(epoch));
  }
}

// Without tcp_sendmsg_locked requests end at sock_send_length, and reason 1 is a drop.
TEST(Constants, SayWhatTheKernelHas) {
  KernelFeatures features;
  features.drop_reasons = {"NOT_SPECIFIED", "NO_SOCKET", "TCP_RESET"};
  const auto value = [&](std::string_view name) {
    const std::vector<Constant> all = constants_of(features, 1);
    return std::ranges::find(all, name, &Constant::name)->bytes;
  };
  EXPECT_EQ(value("counted").size(), size_t{SLOGATE_DROP_REASONS});
  EXPECT_EQ(value("counted").substr(0, 3), std::string("\0\1\0", 3));
  EXPECT_EQ(value("has_rx_sk"), std::string(1, '\0'));
  EXPECT_EQ(value("close_at_send_length"), "\1");
  features.tracepoints.emplace("tcp_sendmsg_locked");
  features.kfree_skb_has_socket = true;
  EXPECT_EQ(value("has_rx_sk"), "\1");
  EXPECT_EQ(value("close_at_send_length"), std::string(1, '\0'));
}

TEST(Astray, MapIsRefused) {
  const OpenObject object = open(kAstray);
  auto shared = require_shared(*object, [](std::string_view name) { return name != "astray_map"; });
  ASSERT_FALSE(shared.has_value());
  EXPECT_EQ(shared.error().line(),
            "map astray_map of object astray_bpf is not shared: the agent would never read it "
            "(declare it in bpf/maps.h)");
  // As it is when the agent loads an object: before a descriptor is asked for.
  shared = share_maps(*object, [](std::string_view) { return -1; });
  ASSERT_FALSE(shared.has_value());
  EXPECT_THAT(shared.error().message, HasSubstr("is not shared"));
}

// A variable lies in a map too.
TEST(Astray, VariableIsRefused) {
  const OpenObject object = open(kAstray);
  const auto shared =
      require_shared(*object, [](std::string_view name) { return name == "astray_map"; });
  ASSERT_FALSE(shared.has_value());
  EXPECT_THAT(shared.error().message, HasSubstr(".bss of object astray_bpf is not shared"));
}

TEST(Astray, ConstantWithoutAValueIsRefused) {
  const OpenObject object = open(kAstray);
  const auto done = set_constants(*object, constants_of({}, 1));
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().message, HasSubstr("constant astray_constant"));
}

TEST(Astray, ConstantOfAnotherSizeIsRefused) {
  const OpenObject object = open(kAstray);
  const std::vector<Constant> short_one = {{"astray_constant", "123"}};
  const auto done = set_constants(*object, short_one);
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().message, HasSubstr("has 4 bytes, and its value 3"));
  const std::vector<Constant> right = {{"astray_constant", "1234"}};
  EXPECT_TRUE(set_constants(*object, right).has_value());
  EXPECT_THAT(constants_in(*object), HasSubstr("1234"));
}

TEST(Astray, ProgramWithoutARowIsRefused) {
  const auto known = require_rows(*open(kAstray), "astray");
  ASSERT_FALSE(known.has_value());
  EXPECT_EQ(known.error().line(),
            "program astray_program of object astray has no row there "
            "(give it one in maps/signals.def)");
}

TEST(Astray, RowWithoutAProgramIsRefused) {
  // Nothing of it is there, its rows are of another object.
  const ProgramObject& other = program_objects().front();
  for (const ProgramObject& object : program_objects().subspan(1))
    EXPECT_FALSE(require_rows(*open(object), other.name).has_value()) << object.name;
}

}  // namespace
}  // namespace slogate
