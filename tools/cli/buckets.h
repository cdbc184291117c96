// SPDX-License-Identifier: Apache-2.0
// A histogram as the API gives it.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "tools/cli/client.h"

namespace slogate::cli {

struct Bucket {
  double above, le;  // values in it are above the one and at most the other, in seconds; the last
                     // bucket's `le` is infinite
  double count;
};
using Buckets = std::vector<Bucket>;

// From one signal of /v1/cgroups/{id}/histograms. Throws Json::exception when it is no such thing.
[[nodiscard]] Buckets parse_buckets(const Json& json);

[[nodiscard]] double total(const Buckets& buckets);

// The counts added since `before`; nothing if the shapes differ or counts fell, as they do when the
// agent has lost its maps.
[[nodiscard]] std::optional<Buckets> difference(const Buckets& now, const Buckets& before);

// Index of the bucket that holds the quantile `q` (0 < q <= 1); nothing when all are empty.
[[nodiscard]] std::optional<size_t> quantile_bucket(const Buckets& buckets, double q);

// The geometric middle of that bucket in seconds, as the agent computes it.
[[nodiscard]] std::optional<double> quantile(const Buckets& buckets, double q);

}  // namespace slogate::cli
