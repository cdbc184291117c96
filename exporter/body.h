// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <zlib.h>

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

  void write(std::string_view bytes);
  // Everything that was written; the last call.
  std::string finish();

 private:
  struct End {
    void operator()(z_stream* stream) const;
  };
  void deflate_all(std::string_view bytes, int flush);

  std::string bytes_;
  std::unique_ptr<z_stream, End> gzip_;  // null where nothing is compressed
};

}  // namespace slogate
