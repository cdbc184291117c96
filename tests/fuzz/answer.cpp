// SPDX-License-Identifier: Apache-2.0
// A send of a workload, as the kernel programs read it: a letter for the situation, a line, then
// the bytes. peek() itself ends the run if it is asked for what is not there.
#include "tests/support/answer.h"

#include <memory>

#include "tests/fuzz/fuzz.h"

namespace slogate {
namespace {

// What docs/method.md states.
constexpr unsigned kMostPeeks = 20, kMostPeeksOfInterim = 34,
                   kMostPeeksOfPipeline = ANSWER_REDIS_STEPS;

void read_pipeline(Bytes& bytes, answer_reading& reading) {
  answer_replies replies{};
  bytes.peeks = 0;
  for (int i = 0; i < ANSWER_REDIS_STEPS; ++i)
    if (step_replies(&bytes, &reading, &replies) == 0) break;
  fuzz::require(bytes.peeks <= kMostPeeksOfPipeline, "the cost of a pipeline is bounded");
  fuzz::require(replies.seen < ANSWER_REDIS_REPLIES, "so are the rows it adds to");
}

void read_send(unsigned situation, std::string_view sent) {
  const size_t here = situation / 64 % 2 == 0 ? sent.size() : sent.size() / 2;
  const auto exact = std::make_unique<char[]>(here);  // for AddressSanitizer
  std::memcpy(exact.get(), sent.data(), here);
  Bytes bytes{exact.get(), here};
  answer_reading reading{};
  reading.here = static_cast<__u32>(here);
  reading.bytes = static_cast<__u32>(sent.size());
  reading.protocol = static_cast<__u8>(situation % SLOGATE_PROTOCOL_opaque);
  reading.asked = situation / 8 % 2;
  reading.first = situation / 16 % 2;
  reading.misfits = situation / 32 % ANSWER_MISFITS;
  reading.phase = situation / 128 % 2 == 0 ? 0 : SLOGATE_PHASE_login;
  read_answer(&bytes, &reading);
  fuzz::require(reading.kind <= ANSWER_handshake, "one of four things");
  fuzz::require(reading.kind != ANSWER_outcome || reading.answer < SLOGATE_ANSWER_KINDS, "a row");
  fuzz::require(reading.handshake <= ANSWER_HANDSHAKE_failed, "a kind of handshake");
  fuzz::require(reading.protocol <= SLOGATE_PROTOCOL_opaque, "a protocol");
  fuzz::require(reading.asked != 0 || reading.kind != ANSWER_interim, "an answer to something");
  const bool interim = sent.starts_with("HTTP/1.") && sent.size() > 9 && sent[9] == '1';
  fuzz::require(bytes.peeks <= (interim ? kMostPeeksOfInterim : kMostPeeks),
                "the cost of an answer is bounded");
  if (reading.rest != 0) read_pipeline(bytes, reading);
}

}  // namespace
}  // namespace slogate

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = slogate::fuzz::text(data, size);
  const std::string_view situation = slogate::fuzz::take_line(rest);
  if (situation.empty()) return 0;
  slogate::read_send(static_cast<unsigned char>(situation.front()), rest);
  return 0;
}
