// SPDX-License-Identifier: Apache-2.0
#include "maps/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "maps/fd.h"

namespace slogate {
namespace {

using testing::HasSubstr;

// What is written to a pipe arrives in pieces, and no size says how much there will be.
Result<std::string> through_pipe(const std::string& text, size_t most) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return fail("no pipe");
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const std::jthread writer([&] {
    for (size_t at = 0; at < text.size(); at += 1000)
      if (::write(to.get(), text.data() + at, std::min<size_t>(1000, text.size() - at)) < 0) break;
    to.reset();
  });
  auto read = read_file(from.get(), most);
  if (read && read->size() < text.size()) (void)read_file(from.get());  // or the writer waits on
  return read;
}

TEST(File, IsReadToItsEndOrToTheMostThatIsAskedFor) {
  for (const size_t size : {0, 1, 999, 4095, 4096, 4097, 100'000}) {
    std::string text(size, 'x');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
    EXPECT_EQ(through_pipe(text, SIZE_MAX), text) << size;
    for (const size_t most : {1, 1000, 4096, 5000})
      EXPECT_EQ(through_pipe(text, most), text.substr(0, most)) << size << " " << most;
  }
}

TEST(File, OfProcHasNoSizeButText) {
  EXPECT_THAT(read_file("/proc/self/status").value(), HasSubstr("\nCapEff:"));
  EXPECT_EQ(read_file("/proc/self/status", 5).value(), "Name:");
}

TEST(File, ThatCannotBeReadSaysWhy) {
  EXPECT_EQ(read_file("/nowhere/at/all").error().line(), "cannot open: No such file or directory");
  EXPECT_EQ(read_file("/").error().line(), "cannot read: Is a directory");
}

}  // namespace
}  // namespace slogate
