// SPDX-License-Identifier: Apache-2.0
// How slogate reports that something did not work: a value, never an exception across a folder.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace slogate {

// One chain of causes, outermost first, and what the reader can do about it (empty when nothing).
struct Error {
  std::string message;
  std::string remedy = {};

  // The same error seen from one level up: "outer: inner".
  [[nodiscard]] Error within(std::string_view outer) const {
    return {fmt::format("{}: {}", outer, message), remedy};
  }

  // One line for a terminal or a log.
  [[nodiscard]] std::string line() const {
    return remedy.empty() ? message : fmt::format("{} ({})", message, remedy);
  }
};

template <typename T>
using Result = std::expected<T, Error>;

// `errno_value` is positive (an errno) or negative (libbpf returns -errno).
inline Error system_error(std::string_view what, int errno_value) {
  // strerrordesc_np is thread-safe where strerror is not.
  const char* text = strerrordesc_np(errno_value < 0 ? -errno_value : errno_value);
  return {fmt::format("{}: {}", what, text ? text : "unknown error"), {}};
}

inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}
inline std::unexpected<Error> fail(std::string message, std::string remedy = {}) {
  return std::unexpected(Error{std::move(message), std::move(remedy)});
}

}  // namespace slogate
