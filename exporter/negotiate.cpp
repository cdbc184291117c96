// SPDX-License-Identifier: Apache-2.0
#include "exporter/negotiate.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

namespace slogate {
namespace {

// One item of such a header: "name;key=value;q=0.5".
struct Item {
  std::string_view name;
  std::vector<std::pair<std::string_view, std::string_view>> parameters;
  double quality = 1;

  [[nodiscard]] std::string_view parameter(std::string_view key) const;
};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  const size_t begin = std::min(text.find_first_not_of(blanks), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}

// What is before the separator, without blanks; `text` keeps what is after it.
std::string_view take_until(std::string_view& text, char separator) {
  const std::string_view piece = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(text.size(), piece.size() + 1));
  return trim(piece);
}

std::string_view Item::parameter(std::string_view key) const {
  const auto found =
      std::ranges::find_if(parameters, [key](const auto& entry) { return same(entry.first, key); });
  return found == parameters.end() ? "" : found->second;
}

// 0 for what is no quality: an item that can't be read is none.
double parse_quality(std::string_view text) {
  double quality = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), quality);
  const bool good = error == std::errc{} && end == text.end() && quality >= 0 && quality <= 1;
  return good ? quality : 0;
}

std::vector<Item> parse_items(std::string_view header) {
  std::vector<Item> items;
  while (!header.empty()) {
    std::string_view rest = take_until(header, ',');
    Item item{.name = take_until(rest, ';')};
    while (!rest.empty()) {
      std::string_view parameter = take_until(rest, ';');
      const std::string_view key = take_until(parameter, '=');
      const std::string_view value = trim(parameter);
      if (same(key, "q"))
        item.quality = parse_quality(value);
      else
        item.parameters.emplace_back(key, value);
    }
    if (!item.name.empty()) items.push_back(std::move(item));
  }
  return items;
}

bool is_native(const Item& item) {
  return same(item.name, "application/vnd.google.protobuf") &&
         item.parameter("proto") == "io.prometheus.client.MetricFamily" &&
         item.parameter("encoding") == "delimited";
}

// Whether the item means our text; a version other than ours is another format.
bool is_text(const Item& item) {
  const std::string_view version = item.parameter("version");
  return same(item.name, "text/plain") && (version.empty() || version == "0.0.4");
}

// The best quality of the items that match the first of these predicates that any matches.
template <typename... Matches>
double quality(const std::vector<Item>& items, const Matches&... matches) {
  std::optional<double> best;
  const auto look = [&](const auto& match) {
    for (const Item& item : items)
      if (match(item)) best = std::max(best.value_or(0), item.quality);
    return best.has_value();
  };
  (void)(look(matches) || ...);
  return best.value_or(0);
}

auto named(std::string_view name) {
  return [name](const Item& item) { return same(item.name, name); };
}

}  // namespace

Format choose_format(std::string_view accept) {
  const std::vector<Item> items = parse_items(accept);
  const double native = quality(items, is_native);
  const double text = quality(items, is_text, named("text/*"), named("*/*"));
  return native > 0 && native >= text ? Format::Native : Format::Text;
}

bool accepts_gzip(std::string_view accept_encoding) {
  const std::vector<Item> items = parse_items(accept_encoding);
  return quality(items, named("gzip"), named("x-gzip"), named("*")) > 0;
}

}  // namespace slogate
