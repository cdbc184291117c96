# SPDX-License-Identifier: Apache-2.0
# What the reports of benchmarks say of samples.

# Linear between the two neighbours.
def quantile($q):
  sort | ((length - 1) * $q) as $at | ($at | floor) as $i
  | .[$i] + (($at - $i) * ((.[$i + 1] // .[$i]) - .[$i]));
def spread:
  {median: quantile(0.5), min: min, q1: quantile(0.25), q3: quantile(0.75), max: max, n: length};
