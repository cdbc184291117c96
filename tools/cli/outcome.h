// SPDX-License-Identifier: Apache-2.0
// How a command ends.
#pragma once

#include <expected>
#include <string>

#include "maps/error.h"

namespace slogate::cli {

// Exit codes that scripts rely on.
enum Exit : int {
  kOk = 0,
  kFailed = 1,
  kVeto = 1,  // of gate, which fails with kUnreachable instead
  kHold = 2,
  kUnreachable = 3,
  kUsage = 64
};

// Why a command has nothing to show.
struct Failure {
  Error error;
  Exit exit = kFailed;
};

template <typename T>
using Outcome = std::expected<T, Failure>;

// The text that a command prints, and how the program ends once it is printed.
struct Report {
  std::string text = {};
  Exit exit = kOk;
  std::string warnings = {};    // lines for standard error
  bool exit_is_answer = false;  // it holds though the text could not be written
};

inline std::unexpected<Failure> fail(Exit exit, std::string message, std::string remedy = {}) {
  return std::unexpected(Failure{{std::move(message), std::move(remedy)}, exit});
}

}  // namespace slogate::cli
