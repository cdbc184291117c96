// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace slogate {

// N numbers, all 0 at first, of which only those from the first to the last that were ever set are
// kept: a workload's times lie in a few neighbouring buckets, and most workloads have none.
template <size_t N>
class CountRow {
 public:
  CountRow() = default;
  // `kept` are the numbers from `first` on; there is room for all of them.
  CountRow(size_t first, std::vector<uint64_t> kept) : first_(first), kept_(std::move(kept)) {}

  [[nodiscard]] static constexpr size_t size() { return N; }
  // Those that are not kept are 0.
  [[nodiscard]] size_t first() const { return first_; }
  [[nodiscard]] std::span<const uint64_t> kept() const { return kept_; }
  [[nodiscard]] bool is_zero() const {
    return std::ranges::all_of(kept_, [](uint64_t n) { return n == 0; });
  }
  [[nodiscard]] uint64_t total() const {
    return std::accumulate(kept_.begin(), kept_.end(), uint64_t{0});
  }

  // `i` is below N.
  [[nodiscard]] uint64_t operator[](size_t i) const { return is_kept(i) ? kept_[i - first_] : 0; }
  // The number is kept from now on; references to others end.
  [[nodiscard]] uint64_t& operator[](size_t i) {
    keep(i, i + 1);
    return kept_[i - first_];
  }

  // The numbers from `first` on become these; all of them are within the row.
  void assign(size_t first, std::span<const uint64_t> numbers) {
    // Zeros at the ends need no room that they don't have.
    const auto is_bare = [&](size_t i) { return numbers[i] == 0 && !is_kept(first + i); };
    size_t begin = 0, end = numbers.size();
    while (begin < end && is_bare(begin)) ++begin;
    while (end > begin && is_bare(end - 1)) --end;
    if (begin == end) return;
    keep(first + begin, first + end);
    std::ranges::copy(numbers.subspan(begin, end - begin),
                      kept_.begin() + (first + begin - first_));
  }

  CountRow& operator+=(const CountRow& other) {
    combine(other, [](uint64_t& to, uint64_t from) { to += from; });
    return *this;
  }
  CountRow& operator-=(const CountRow& other) {
    combine(other, [](uint64_t& to, uint64_t from) { to -= from; });
    return *this;
  }
  friend bool operator==(const CountRow& a, const CountRow& b) {
    return a.is_within(b) && b.is_within(a);
  }
  // Whether none of the numbers is smaller than in `before`.
  [[nodiscard]] bool covers(const CountRow& before) const {
    bool fell = false;
    for (size_t i = 0; i < before.kept_.size(); ++i)
      fell |= std::as_const(*this)[before.first_ + i] < before.kept_[i];
    return !fell;
  }

 private:
  [[nodiscard]] bool is_kept(size_t i) const { return i - first_ < kept_.size(); }
  void keep(size_t first, size_t end) {
    if (kept_.empty()) first_ = first;
    if (first < first_) {
      kept_.insert(kept_.begin(), first_ - first, 0);
      first_ = first;
    }
    if (end > first_ + kept_.size()) kept_.resize(end - first_);
  }
  template <typename F>
  void combine(const CountRow& other, const F& apply) {
    if (other.kept_.empty()) return;
    keep(other.first_, other.first_ + other.kept_.size());
    for (size_t i = 0; i < other.kept_.size(); ++i)
      apply(kept_[other.first_ - first_ + i], other.kept_[i]);
  }
  // Whether each number that is kept is the other's, too.
  [[nodiscard]] bool is_within(const CountRow& other) const {
    for (size_t i = 0; i < kept_.size(); ++i)
      if (kept_[i] != other[first_ + i]) return false;
    return true;
  }

  size_t first_ = 0;
  std::vector<uint64_t> kept_;
};

}  // namespace slogate
