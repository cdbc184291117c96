// SPDX-License-Identifier: Apache-2.0
#include "exporter/body.h"

#include <array>
#include <new>
#include <utility>

namespace slogate {
namespace {

// The fastest level: it makes a tenth of the text, and the next ones take twice its time for little
// more.
constexpr int kLevel = Z_BEST_SPEED;
constexpr int kMemory = 8;       // 256 KB; with more, its tables no longer fit into the cache
constexpr int kGzipHeader = 16;  // added to the window's size: gzip's frame, not zlib's

}  // namespace

Body::Body(bool gzip) {
  if (!gzip) return;
  auto stream = std::make_unique<z_stream>();
  *stream = {};
  if (deflateInit2(stream.get(), kLevel, Z_DEFLATED, MAX_WBITS + kGzipHeader, kMemory,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  gzip_.reset(stream.release());  // from here on it also has something to end
}

void Body::End::operator()(z_stream* stream) const {
  (void)deflateEnd(stream);
  delete stream;
}

void Body::write(std::string_view bytes) {
  if (gzip_)
    deflate_all(bytes, Z_NO_FLUSH);
  else
    bytes_ += bytes;
}

std::string Body::finish() {
  if (gzip_) deflate_all({}, Z_FINISH);
  return std::move(bytes_);
}

void Body::deflate_all(std::string_view bytes, int flush) {
  std::array<Bytef, 16384> block;
  // zlib does not write to its input.
  gzip_->next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
  gzip_->avail_in = static_cast<uInt>(bytes.size());
  do {
    gzip_->next_out = block.data();
    gzip_->avail_out = block.size();
    (void)deflate(gzip_.get(), flush);  // fails only when it is used wrongly
    bytes_.append(reinterpret_cast<const char*>(block.data()), block.size() - gzip_->avail_out);
  } while (gzip_->avail_out == 0);
}

}  // namespace slogate
