// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "exporter/body.h"
#include "exporter/sink.h"

namespace slogate {

// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
inline constexpr std::string_view kTextContentType = "text/plain; version=0.0.4; charset=utf-8";

// Prometheus's text format, whatever the locale. Numbers have as many digits as it takes to read
// them back exactly. Help texts are written as they stand: they have one line and no backslash.
class TextSink final : public Sink {
 public:
  explicit TextSink(Body& body) : body_(body) {}

  [[nodiscard]] std::string encode(const Labels& labels) const override;
  // The buckets with that of infinity, and count and sum.
  [[nodiscard]] size_t series_of_histogram(size_t edges) const override { return edges + 3; }

 private:
  void open_family() override;
  void close_family() override { pass_on(); }
  void write(std::string_view labels, std::string_view more, double value) override;
  void write(std::string_view labels, std::string_view more, const Histogram& histogram,
             std::span<const size_t> edges) override;
  void set_labels(std::string_view labels, std::string_view more);
  void write_line(std::string_view suffix, std::string_view value);
  void end_line();
  void pass_on();

  Body& body_;
  std::string text_;    // not yet in the body
  std::string labels_;  // of the series that is being written
  std::string line_;    // how the lines of its buckets begin
};

}  // namespace slogate
