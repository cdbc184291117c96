// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace slogate {

// The bytes of one answer, compressed as they come if so wanted: the text of a large node would
// take many times the memory before.
class Body {
 public:
  // Throws bad_alloc.
  explicit Body(bool gzip);
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;
  ~Body();

  void write(std::string_view bytes);
  // Everything that was written; the last call.
  std::string finish();

 private:
  struct Gzip;
  void deflate(std::string_view bytes, bool last);

  std::string bytes_;
  std::unique_ptr<Gzip> gzip_;  // null where nothing is compressed
};

}  // namespace slogate
