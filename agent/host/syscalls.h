// SPDX-License-Identifier: Apache-2.0
// The system calls that the agent makes once it serves, and no others.
#pragma once

#include <cstdint>

#include "maps/error.h"

namespace slogate {

// From here on all threads, and those that they will start, can make only the calls that serving
// takes (the table in syscalls.cpp), for good. What another one finds is ENOSYS, as on a kernel
// that does not have it, and a line in the log the first time. Calls of another architecture's
// numbers end the process.
//
// `may_attach`: programs that are loaded already may be attached.
//
// A thread that blocks SIGSYS would be killed by the first such call: see leave_signals_to_main().
[[nodiscard]] Result<void> restrict_system_calls(bool may_attach = false);

// How many calls have been refused.
[[nodiscard]] uint64_t refused_system_calls();

// For every thread but the main one: blocks signals, so that they are the main thread's, but the
// one by which a refused call is noticed.
void leave_signals_to_main();

}  // namespace slogate
