// SPDX-License-Identifier: Apache-2.0
// Readings and questions for the tests of agent/peers.
#pragma once

#include <random>

#include "agent/peers/wire.h"
#include "maps/tables.h"

namespace slogate {

inline LentQuestion question(const std::string& slo = "demo") {
  return {.slo = slo, .baseline = "/demo/stable/**; port 0", .rollout = "r1"};
}

// Something in every field; another with each number.
inline LentReading reading(uint64_t number) {
  std::mt19937_64 random(number);
  LentReading made{.number = number, .lasted = std::chrono::milliseconds(250)};
  for (ArmReading& half : made.halves) {
    for (Histogram& histogram : half.added.histograms)
      for (int i = 0; i < 10; ++i) histogram[random() % SLOGATE_BUCKETS] += random() % 1000 + 1;
    for (uint64_t& counter : half.added.counters) counter = random() % 3 == 0 ? random() % 5000 : 0;
    half.added.drops[0] = random() % 3;
    if (random() % 2 == 0) {
      half.open.emplace();
      half.open->server[100] = 3;
      half.open->client[SLOGATE_BUCKETS - 1] = 1;
    }
    half.cgroups = 1 + random() % 5;
    half.warming = half.cgroups - 1;
    half.lost = random() % 2;
    if (random() % 2 == 0) half.gap = Gap::Cgroup;
    half.overdue = random() % 4;
    half.oldest = std::chrono::nanoseconds(random() % 1'000'000'000);
  }
  return made;
}

// What a service does in a quarter of a second at 1,000 requests a second.
inline LentReading busy_reading(uint64_t number) {
  std::mt19937_64 random(number);
  std::lognormal_distribution<double> latency(0, 4);
  LentReading made{.number = number, .lasted = std::chrono::milliseconds(250)};
  for (ArmReading& half : made.halves) {
    for (int i = 0; i < 125; ++i)
      ++half.added.histograms[SLOGATE_SIGNAL_request]
                             [90 + static_cast<size_t>(std::min(100.0, std::abs(latency(random))))];
    half.added.counters[SLOGATE_COUNTER_server_http_success] = 125;
    half.added.counters[SLOGATE_COUNTER_segments_in] = 250;
    half.added.counters[SLOGATE_COUNTER_segments_out] = 250;
    half.cgroups = 1;
  }
  return made;
}

inline bool same(const OpenRequests& a, const OpenRequests& b) {
  return a.server == b.server && a.client == b.client;
}

inline bool same(const ArmReading& a, const ArmReading& b) {
  return a.added == b.added && a.open.has_value() == b.open.has_value() &&
         (!a.open || same(*a.open, *b.open)) && a.cgroups == b.cgroups && a.warming == b.warming &&
         a.lost == b.lost && a.gap == b.gap && a.overdue == b.overdue && a.oldest == b.oldest;
}

inline bool same(const LentReading& a, const LentReading& b) {
  return a.number == b.number && a.lasted == b.lasted && same(a.halves[0], b.halves[0]) &&
         same(a.halves[1], b.halves[1]);
}

inline Hello hello() {
  return own_hello(std::string(kInstanceBytes, 'i'), "");
}

inline Dictionary dictionary() {
  return *Dictionary::make(hello(), hello());
}

// The fields of the one frame that `bytes` are.
inline std::string_view fields_of(std::string_view bytes) {
  return (*next_frame(bytes, bytes.size()))->fields;
}

}  // namespace slogate
