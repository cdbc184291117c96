// SPDX-License-Identifier: Apache-2.0
#include "tests/support/service.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <string>

#include "maps/file.h"

namespace slogate::support {
namespace {

// Without the help of <random>'s distributions, whose results are the library's own business.
double to_uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

Nanoseconds to_bounded(double ns) {
  return Nanoseconds(std::llround(std::clamp(ns, 0.0, 3600e9)));
}

// Everything up to the first `separator`, which is taken off `text` too.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return head;
}

Result<Distribution> parse_constant(std::string_view text) {
  const auto value = parse_duration(text);
  if (!value) return fail(value.error());
  return Constant{*value};
}

Result<Distribution> parse_lognormal(std::string_view text) {
  const std::string median_text(take(text, ':'));
  const bool plain = !median_text.empty() && std::isdigit(median_text.back());
  const auto median = parse_duration(plain ? median_text + "ms" : median_text);
  if (!median) return fail(median.error());
  if (*median == Nanoseconds(0)) return fail("a lognormal median is above 0");
  const auto sigma = parse_number(text, 0, 10);
  if (!sigma) return fail(sigma.error());
  return Lognormal{*median, *sigma};
}

Result<Distribution> read_list(std::string_view path) {
  const auto text = read_file(std::string(path));
  if (!text) return fail(text.error().within(path));
  auto list = parse_list(*text);
  if (!list) return fail(list.error().within(path));
  return *std::move(list);
}

Result<Distribution> parse_steps(std::string_view text) {
  Steps steps;
  double sum = 0;
  while (!text.empty()) {
    std::string_view share_text = take(text, ',');
    const auto value = parse_duration(take(share_text, '*'));
    if (!value) return fail(value.error());
    const auto share = parse_number(share_text, 0, 1);
    if (!share) return fail(share.error());
    steps.steps.push_back({*value, *share});
    sum += *share;
  }
  if (std::abs(sum - 1) > 1e-6) return fail(fmt::format("the shares add up to {}, not 1", sum));
  return steps;
}

struct Reader {
  std::string_view name;
  Result<Distribution> (*read)(std::string_view);
};
constexpr Reader kReaders[] = {{"constant", parse_constant},
                               {"lognormal", parse_lognormal},
                               {"list", read_list},
                               {"steps", parse_steps}};

// Draws one value; every draw takes the same number of random words from its generator.
struct Draw {
  std::mt19937_64& random;
  size_t number;

  double operator()(const Constant& constant) const {
    return static_cast<double>(constant.value.count());
  }
  double operator()(const Lognormal& lognormal) const {
    // Box and Muller's transform; 1 - u keeps the logarithm away from 0.
    const double radius = std::sqrt(-2 * std::log(1 - to_uniform(random)));
    const double z = radius * std::cos(2 * M_PI * to_uniform(random));
    return static_cast<double>(lognormal.median.count()) * std::exp(lognormal.sigma * z);
  }
  double operator()(const List& list) const {
    return static_cast<double>(list.values[number % list.values.size()].count());
  }
  double operator()(const Steps& steps) const {
    double left = to_uniform(random);
    for (const Steps::Step& step : steps.steps) {
      left -= step.share;
      if (left < 0) return static_cast<double>(step.value.count());
    }
    return static_cast<double>(steps.steps.back().value.count());
  }
};

Result<Change> parse_change(std::string_view text, bool with_share) {
  Change change;
  const auto seconds = parse_number(take(text, ':'), 0, 86400);
  if (!seconds) return fail(seconds.error());
  change.after = Nanoseconds(std::llround(*seconds * 1e9));
  if (with_share) {
    const auto share = parse_number(take(text, ':'), 0, 1);
    if (!share) return fail(share.error());
    change.share = *share;
  }
  const auto factor = parse_number(text, 0, 1e6);
  if (!factor) return fail(factor.error());
  change.factor = *factor;
  return change;
}

}  // namespace

Result<List> parse_list(std::string_view text) {
  List list;
  for (int line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = take(text, '\n');
    if (line.empty() || line.starts_with('#')) continue;
    const auto value = parse_duration(line);
    if (!value) return fail(value.error().within(fmt::format("line {}", line_number)));
    list.values.push_back(*value);
  }
  if (list.values.empty()) return fail("the list has no duration");
  return list;
}

Result<Distribution> read_distribution(std::string_view text) {
  const std::string_view name = take(text, ':');
  const auto* reader = std::ranges::find(kReaders, name, &Reader::name);
  if (reader == std::end(kReaders))
    return fail(fmt::format("no service time is called \"{}\"", name),
                "take constant:, lognormal:, list: or steps:");
  return reader->read(text);
}

Result<Change> parse_slow_after(std::string_view text) {
  return parse_change(text, false);
}

Result<Change> parse_slow_at(std::string_view text, Nanoseconds now) {
  const auto at = parse_number(take(text, ':'), 0, 1e10);
  if (!at) return fail(at.error());
  auto change = parse_slow_after(fmt::format("0:{}", text));
  if (change) change->after = std::max(Nanoseconds(0), Nanoseconds(std::llround(*at * 1e9)) - now);
  return change;
}

Result<Change> parse_tail_after(std::string_view text) {
  return parse_change(text, true);
}

ServiceTimes::ServiceTimes(Distribution distribution, std::vector<Change> changes, uint64_t seed)
    : distribution_(std::move(distribution)),
      changes_(std::move(changes)),
      random_(seed),
      change_random_(seed + 1) {}

Nanoseconds ServiceTimes::next(Nanoseconds since_start) {
  double ns = std::visit(Draw{random_, drawn_++}, distribution_);
  for (const Change& change : changes_)
    if (since_start >= change.after && to_uniform(change_random_) < change.share)
      ns *= change.factor;
  return to_bounded(ns);
}

}  // namespace slogate::support
