// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>

namespace slogate {

// The latest of the immutable values that one thread hands to others. Not an atomic shared_ptr: in
// libstdc++ 12 load() lets go of its lock without a release, so its read races with the next store.
template <typename Value>
class Latest {
 public:
  // Null before the first.
  [[nodiscard]] std::shared_ptr<const Value> load() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  // The value of before, if nobody has it any more, goes when the lock is free again.
  void store(std::shared_ptr<const Value> value) {
    const std::lock_guard lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Value> value_;
};

}  // namespace slogate
