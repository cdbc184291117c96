// SPDX-License-Identifier: Apache-2.0
// Files that are read whole, those included whose size says nothing: /proc, cgroups, pipes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "maps/error.h"

namespace slogate {

// The first `most` bytes from where the file stands, fewer where it ends before. Who must know
// whether it is longer asks for one byte more than may be there. An error is "cannot open: ..." or
// "cannot read: ..."; the caller knows which file it is.
[[nodiscard]] Result<std::string> read_file(int fd, size_t most = SIZE_MAX);
[[nodiscard]] Result<std::string> read_file(const std::string& path, size_t most = SIZE_MAX);

}  // namespace slogate
