// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "maps/error.h"

namespace slogate {

// Gives up, for this thread and those that it will start, all capabilities but the one that growing
// the maps takes: CAP_BPF, or CAP_SYS_ADMIN where that stands in for it. No execve() brings any
// back, tracing the process and reading its memory take CAP_SYS_PTRACE, and it dumps no core.
// Programs can be neither loaded nor attached from here on.
[[nodiscard]] Result<void> drop_privileges();

}  // namespace slogate
