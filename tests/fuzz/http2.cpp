// SPDX-License-Identifier: Apache-2.0
// One direction of a connection of HTTP/2, as the kernel programs follow it: a letter for the
// direction and how it is cut, a line, then the bytes. peek() itself ends the run if it is asked
// for what is not there. However the bytes are cut, the same is seen.
#include "tests/support/http2.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace slogate {
namespace {

struct Seen {
  unsigned event, stream, code, status, grpc, ends;
  bool operator==(const Seen&) const = default;
};

// What is seen in pieces of `n` bytes, as far as the frames can be followed.
std::vector<Seen> follow(std::string_view bytes, size_t n, bool answers) {
  const auto conn = std::make_unique<slogate_http2>();
  __u32 at = 0xffffff00;
  conn->in.next = at;
  std::vector<Seen> seen;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, n);
    const auto exact = std::make_unique<char[]>(piece.size());  // for AddressSanitizer
    std::memcpy(exact.get(), piece.data(), piece.size());
    FrameBytes source{exact.get(), piece.size()};
    http2_walk walk{};
    walk.begin = at;
    walk.end = at += static_cast<__u32>(piece.size());
    walk.answers = answers;
    size_t steps = 0;
    while (http2_step(&source, conn.get(), &walk) != 0) {
      fuzz::require(++steps <= 2 * piece.size() + 2, "each step passes a byte, or a frame's end");
      fuzz::require(walk.event <= HTTP2_goaway, "one of the events");
      if (walk.event == HTTP2_nothing) continue;
      const bool said = walk.event == HTTP2_said, coded = walk.event >= HTTP2_reset;
      seen.push_back({walk.event, walk.stream, coded ? walk.code : 0, said ? walk.status : 0U,
                      said ? walk.grpc : 0U, coded ? 0U : walk.ends});
    }
    if (conn->in.lost != 0) break;
    bytes.remove_prefix(piece.size());
  }
  return seen;
}

}  // namespace
}  // namespace slogate

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = slogate::fuzz::text(data, size);
  const std::string_view situation = slogate::fuzz::take_line(rest);
  if (situation.empty() || rest.empty()) return 0;
  const auto how = static_cast<unsigned char>(situation.front());
  const bool answers = how % 2 != 0;
  const auto whole = slogate::follow(rest, rest.size(), answers);
  const auto cut = slogate::follow(rest, how / 2 + 1, answers);
  slogate::fuzz::require(whole == cut, "where the bytes are cut decides nothing");
  return 0;
}
