// SPDX-License-Identifier: Apache-2.0
// Where metric families go: one class for each format they are written in.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "exporter/labels.h"
#include "maps/counts.h"

namespace slogate {

enum class MetricType { counter, gauge, histogram };

struct Family {
  std::string name, help;
  MetricType type{};
};

// Takes one family after the other, and of each its series in their order. Labels come encoded, in
// two parts that together are those of the series: what names a workload is encoded once and not
// once for each of its series. Families without a series are left out.
class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  [[nodiscard]] virtual std::string encode(const Labels& labels) const = 0;
  // As how many series Prometheus stores a histogram with so many classic edges.
  [[nodiscard]] virtual size_t series_of_histogram(size_t edges) const = 0;

  void begin_family(Family family);
  void add(std::string_view labels, std::string_view more, double value);
  // `edges` of the classic buckets, where the format has those.
  void add(std::string_view labels, std::string_view more, const Histogram& histogram,
           std::span<const size_t> edges);
  // Ends the last family.
  void finish();

  // How many there were so far.
  [[nodiscard]] size_t series() const { return series_; }

 protected:
  // Of the family that is open.
  [[nodiscard]] const Family& family() const { return family_; }

 private:
  virtual void open_family() = 0;
  virtual void close_family() = 0;
  virtual void write(std::string_view labels, std::string_view more, double value) = 0;
  virtual void write(std::string_view labels, std::string_view more, const Histogram& histogram,
                     std::span<const size_t> edges) = 0;
  void begin_series(size_t series);

  Family family_;
  bool open_ = false;
  size_t series_ = 0;
};

}  // namespace slogate
