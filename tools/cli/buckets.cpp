// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/buckets.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slogate::cli {

Buckets parse_buckets(const Json& json) {
  Buckets buckets;
  for (const Json& each : json) {
    const Json& le = each.at("le");
    buckets.push_back(
        {.above = buckets.empty() ? 0 : buckets.back().le,
         .le = le.is_null() ? std::numeric_limits<double>::infinity() : le.get<double>(),
         .count = each.at("count").get<double>()});
  }
  return buckets;
}

double total(const Buckets& buckets) {
  double sum = 0;
  for (const Bucket& bucket : buckets) sum += bucket.count;
  return sum;
}

std::optional<Buckets> difference(const Buckets& now, const Buckets& before) {
  if (now.size() != before.size()) return std::nullopt;
  Buckets added = now;
  for (size_t i = 0; i < now.size(); ++i) {
    added[i].count -= before[i].count;
    if (now[i].le != before[i].le || added[i].count < 0) return std::nullopt;
  }
  return added;
}

std::optional<size_t> quantile_bucket(const Buckets& buckets, double q) {
  const double rank = std::max(1.0, std::ceil(q * total(buckets)));
  double seen = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    seen += buckets[i].count;
    if (seen >= rank) return i;
  }
  return std::nullopt;
}

std::optional<double> quantile(const Buckets& buckets, double q) {
  const auto at = quantile_bucket(buckets, q);
  if (!at) return std::nullopt;
  const Bucket& bucket = buckets[*at];
  if (std::isinf(bucket.le)) return bucket.above;
  // The first bucket has no lower edge: it is taken to be as wide as the one after it.
  if (*at == 0)
    return buckets.size() < 2 ? bucket.le : bucket.le * std::sqrt(bucket.le / buckets[1].le);
  return std::sqrt(bucket.above * bucket.le);
}

}  // namespace slogate::cli
