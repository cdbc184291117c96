// SPDX-License-Identifier: Apache-2.0
#include "exporter/text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <vector>

namespace slogate {
namespace {

// Passed on when there is so much: what fits into the processor's cache and is worth a call.
constexpr size_t kBlock = size_t{64} << 10;

// A number in the shortest text that reads back as the same one.
class Number {
 public:
  explicit Number(uint64_t value) { end_ = std::to_chars(text_.begin(), text_.end(), value).ptr; }
  explicit Number(double value) {
    // Large counts in full, not in powers of ten.
    constexpr double most = 1LL << 53;
    end_ = std::trunc(value) == value && std::abs(value) < most
               ? std::to_chars(text_.begin(), text_.end(), static_cast<int64_t>(value)).ptr
               : std::to_chars(text_.begin(), text_.end(), value).ptr;
  }
  [[nodiscard]] std::string_view text() const { return {text_.data(), end_}; }

 private:
  std::array<char, 32> text_;
  const char* end_;
};

// What is between the other labels of a bucket and its count: le="..." and the end of the labels.
const std::vector<std::string>& bucket_ends() {
  static const std::vector<std::string> labels = [] {
    std::vector<std::string> all;
    all.reserve(SLOGATE_BUCKETS);
    for (size_t i = 0; i < SLOGATE_EDGES; ++i)
      all.push_back(fmt::format("le=\"{}\"}} ", Number(bucket_edge(i)).text()));
    all.emplace_back("le=\"+Inf\"} ");
    return all;
  }();
  return labels;
}

void append_escaped(std::string& to, std::string_view value) {
  for (const char c : value) {
    if (c == '\n') {
      to += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') to += '\\';
    to += c;
  }
}

constexpr std::array<std::string_view, 3> kTypes = {"counter", "gauge", "histogram"};

}  // namespace

std::string TextSink::encode(const Labels& labels) const {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name;
    text += "=\"";
    append_escaped(text, value);
    text += '"';
  }
  return text;
}

void TextSink::open_family() {
  const std::string_view type = kTypes[static_cast<size_t>(family().type)];
  text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", family().name, family().help, type);
}

void TextSink::set_labels(std::string_view labels, std::string_view more) {
  labels_ = labels;
  if (!labels.empty() && !more.empty()) labels_ += ',';
  labels_ += more;
}

void TextSink::pass_on() {
  body_.write(text_);
  text_.clear();
}

void TextSink::write_line(std::string_view suffix, std::string_view value) {
  text_ += family().name;
  text_ += suffix;
  if (!labels_.empty()) {
    text_ += '{';
    text_ += labels_;
    text_ += '}';
  }
  text_ += ' ';
  text_ += value;
  end_line();
}

void TextSink::end_line() {
  text_ += '\n';
  if (text_.size() >= kBlock) pass_on();
}

void TextSink::write(std::string_view labels, std::string_view more, double value) {
  set_labels(labels, more);
  write_line("", Number(value).text());
}

void TextSink::write(std::string_view labels, std::string_view more, const Histogram& histogram,
                     std::span<const size_t> edges) {
  set_labels(labels, more);
  const Number all(count(histogram));
  write_line("_count", all.text());
  write_line("_sum", Number(sum(histogram)).text());

  // Nine lines in ten are buckets.
  line_ = fmt::format("{}_bucket{{{}{}", family().name, labels_, labels_.empty() ? "" : ",");
  const auto write_bucket = [this](size_t edge, std::string_view value) {
    text_ += line_;
    text_ += bucket_ends()[edge];
    text_ += value;
    end_line();
  };
  uint64_t seen = 0;
  size_t bucket = 0;
  for (const size_t edge : edges) {
    for (; bucket <= edge; ++bucket) seen += histogram[bucket];
    write_bucket(edge, Number(seen).text());
  }
  write_bucket(SLOGATE_EDGES, all.text());
}

}  // namespace slogate
