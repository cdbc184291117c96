// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "agent/config/config_fields.h"
#include "maps/integer.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kMappedBits = 96;  // of ::ffff:0:0, before an IPv4 address

Result<EnforceMode> parse_mode(std::string_view text) {
  const auto* found = std::ranges::find(kEnforceModes, text);
  if (found == kEnforceModes.end()) return fail(unknown_name("mode", text, kEnforceModes));
  return static_cast<EnforceMode>(found - kEnforceModes.begin());
}

Result<std::chrono::nanoseconds> parse_max(std::string_view text) {
  const auto max = parse_duration(text);
  if (max && *max < 1s)
    return fail(fmt::format("{} is too short", in_quotes(text)), "from 1s to 24h");
  return max;
}

Result<bool> parse_flag(std::string_view text) {
  if (text == "true" || text == "false") return text == "true";
  return fail(fmt::format("{} is neither true nor false", in_quotes(text)), "write one of them");
}

// Whether vetoes of latency are meant, too.
Result<bool> parse_for(std::string_view text) {
  constexpr std::array<std::string_view, 2> known = {"failures", "latency"};
  if (std::ranges::find(known, text) == known.end())
    return fail(unknown_name("kind of veto", text, known));
  return text == "latency";
}

// Bits beyond the length would be a typing mistake: 10.0.0.7/8 may be meant as either.
bool is_clean(const AddressRange& range) {
  for (unsigned bit = range.bits; bit < 128; ++bit)
    if ((range.address[bit / 8] >> (7 - bit % 8)) & 1) return false;
  return true;
}

template <typename Add>
auto list_of(ConfigProblems& problems, size_t most, const Add& add) {
  return [&problems, most, add](const YamlNode& node) {
    read_list(node, problems, most, [&](const YamlNode& item) { add(item); });
  };
}

}  // namespace

Result<AddressRange> parse_range(std::string_view text) {
  const char* remedy = "write an address or a range, like 10.0.0.7, 10.0.0.0/8 or fd00::/8";
  const auto wrong = [&] {
    return fail(fmt::format("{} is not a range of addresses", in_quotes(text)), remedy);
  };
  const size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  AddressRange range;
  in_addr v4{};
  const bool is_v4 = inet_pton(AF_INET, host.c_str(), &v4) == 1;
  if (is_v4) {
    range.address[10] = range.address[11] = 0xff;
    std::copy_n(reinterpret_cast<const uint8_t*>(&v4), 4, range.address.begin() + 12);
  } else if (inet_pton(AF_INET6, host.c_str(), range.address.data()) != 1) {
    return wrong();
  }
  if (slash != std::string_view::npos) {
    const auto bits = parse_integer<unsigned>(text.substr(slash + 1), 0, is_v4 ? 32 : 128);
    if (!bits) return wrong();
    range.bits = is_v4 ? kMappedBits + *bits : *bits;
  }
  if (!is_clean(range))
    return fail(fmt::format("{} has bits beyond its length", in_quotes(text)),
                "write the range's first address, or the address alone");
  return range;
}

Result<EnforceTerms> parse_enforce(std::string_view text) {
  EnforceTerms terms;
  terms.mode = EnforceMode::Refuse;
  if (text == "refuse") return terms;
  terms.latency = true;
  if (text == "refuse for latency") return terms;
  if (text == "off") return EnforceTerms{};
  return fail(fmt::format("{} is nothing to enforce", in_quotes(text)),
              "write \"refuse\", \"refuse for latency\" or \"off\"");
}

void read_enforce(const YamlNode& node, ConfigProblems& problems, EnforceConfig& to) {
  read_fields(
      node, "what is enforced", problems,
      {{"mode", [&](const YamlNode& v) { read_value(v, problems, to.mode, parse_mode); }},
       {"max", [&](const YamlNode& v) { read_value(v, problems, to.max, parse_max); }},
       {"dry_run", [&](const YamlNode& v) { read_value(v, problems, to.dry_run, parse_flag); }},
       {"exempt", list_of(problems, kMaxExempt, [&](const YamlNode& item) {
          read_value(item, problems, to.exempt.emplace_back(), parse_range);
        })}});
}

void read_enforce_terms(const YamlNode& node, ConfigProblems& problems, EnforceTerms& to) {
  constexpr std::string_view what = "what is enforced of an SLO";
  const bool is_map = read_fields(
      node, what, problems,
      {{"mode", [&](const YamlNode& v) { read_value(v, problems, to.mode, parse_mode); }},
       {"ports", list_of(problems, kMaxEnforcePorts,
                         [&](const YamlNode& item) {
                           read_value(item, problems, to.ports.emplace_back(), parse_port);
                         })},
       {"for", [&](const YamlNode& v) { read_value(v, problems, to.latency, parse_for); }},
       {"max", [&](const YamlNode& v) { read_value(v, problems, to.max, parse_max); }},
       {"dry_run", [&](const YamlNode& v) { read_value(v, problems, to.dry_run, parse_flag); }},
       {"exempt", list_of(problems, kMaxExempt, [&](const YamlNode& item) {
          read_value(item, problems, to.exempt.emplace_back(), parse_range);
        })}});
  if (is_map) require_key(node, "mode", what, problems);
}

}  // namespace slogate
