// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace slogate::support {

// Events by name: an errno, or what else ended a connection.
using Tally = std::map<std::string, uint64_t>;

// One count of a struct of counts and its name in the JSON line.
template <typename Facts>
struct Count {
  const char* name;
  uint64_t Facts::*member;
};

template <typename Facts>
void add_counts(std::span<const Count<Facts>> counts, Facts& to, const Facts& from) {
  for (const auto& count : counts) to.*count.member += from.*count.member;
}

inline void add_tally(Tally& to, const Tally& from) {
  for (const auto& [name, number] : from) to[name] += number;
}

template <typename Facts>
void put_counts(std::span<const Count<Facts>> counts, const Facts& facts,
                nlohmann::ordered_json& json) {
  for (const auto& count : counts) json[count.name] = facts.*count.member;
}

}  // namespace slogate::support
