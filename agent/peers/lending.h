// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/peers/wire.h"

namespace slogate {

// What the thread that ticks hands over after each of its looks.
struct Lendable {
  std::vector<std::pair<LentQuestion, LentReading>> readings;
  std::map<std::string, LentEvidence, std::less<>> evidence;  // by SLO, of canaries that are here
};

// What this node has to lend: the last readings of each SLO, as they go into answers, so that each
// is written once however many ask. Knows nothing of who asks. For one thread.
class LentBook {
 public:
  // Readings of all SLOs together, in bytes, beyond which the oldest go: a thousand SLOs must not
  // take more memory than a node's agent has.
  explicit LentBook(size_t most_bytes = size_t{4} << 20) : most_bytes_(most_bytes) {}

  void add(Lendable lendable, std::chrono::nanoseconds now);
  // The frame that answers.
  [[nodiscard]] std::string answer(const Ask& ask) const;
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] size_t slos() const { return shelves_.size(); }

 private:
  struct Kept {
    uint64_t number;
    std::string part;  // write_reading()
  };
  struct Shelf {
    std::string baseline;  // baseline_digest() of the question
    LentQuestion question;
    std::deque<Kept> readings;
    std::chrono::nanoseconds last{0};  // when a reading was added
  };
  void add(const LentQuestion& question, const LentReading& reading, std::chrono::nanoseconds now);
  void drop_oldest(Shelf& shelf);
  void make_room();

  size_t most_bytes_, bytes_ = 0;
  std::map<std::string, Shelf, std::less<>> shelves_;
  std::map<std::string, LentEvidence, std::less<>> evidence_;
};

// Where the thread that ticks leaves things for another one, which takes all of them at once: the
// lock is held while a list changes hands. What nobody takes is at most `most` things, the latest.
template <typename Thing>
class Tray {
 public:
  explicit Tray(size_t most) : most_(most) {}
  void put(Thing thing) {
    const std::lock_guard lock(mutex_);
    things_.push_back(std::move(thing));
    if (things_.size() > most_) things_.pop_front();
  }
  std::deque<Thing> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(things_, {});
  }
  [[nodiscard]] bool is_full() const {
    const std::lock_guard lock(mutex_);
    return things_.size() >= most_;
  }

 private:
  const size_t most_;
  mutable std::mutex mutex_;
  std::deque<Thing> things_;
};

}  // namespace slogate
