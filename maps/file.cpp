// SPDX-License-Identifier: Apache-2.0
#include "maps/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "maps/fd.h"

namespace slogate {
namespace {

// A page, as much as most files of /proc have.
constexpr size_t kFirstBytes = 4096;

}  // namespace

Result<std::string> read_file(int fd, size_t most) {
  std::string text;
  for (size_t size = 0;;) {
    if (size == text.size()) text.resize(std::min(most, std::max(kFirstBytes, 2 * size)));
    const ssize_t n = ::read(fd, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error("cannot read", errno));
    size += static_cast<size_t>(n);
    if (n != 0 && size < most) continue;
    text.resize(size);
    return text;
  }
}

Result<std::string> read_file(const std::string& path, size_t most) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(system_error("cannot open", errno));
  return read_file(fd.get(), most);
}

}  // namespace slogate
