// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/kubernetes/reflector.h"

namespace slogate {

// The pods of this node, and for a while those that were deleted.
class Pods : public ReflectorSink {
 public:
  explicit Pods(std::function<Instant()> clock) : clock_(std::move(clock)) {}

  void begin() override;
  Result<void> stage(const ApiJson& object) override;
  void commit() override;
  void change(const ApiJson& object) override;
  void remove(const ApiJson& object) override;

  // Forgets those that have been gone for long enough; returns when to call again.
  SteadyTime expire();

  [[nodiscard]] bool synced() const { return synced_; }
  // Another one after each change.
  [[nodiscard]] uint64_t version() const { return version_; }
  // Null where there is none.
  [[nodiscard]] std::shared_ptr<const Pod> find(const std::string& uid) const;
  [[nodiscard]] std::vector<std::shared_ptr<const Pod>> all() const;  // by uid

 private:
  struct Entry {
    std::shared_ptr<const Pod> pod;
    std::deque<std::string> containers;  // their ids, as they came
  };
  struct Leaver {
    SteadyTime since;
    std::string uid;
  };
  void put(Pod pod);
  void mark_gone(const std::string& uid);
  [[nodiscard]] bool is_live(const std::string& uid) const;

  std::function<Instant()> clock_;
  std::map<std::string, Entry> entries_;
  std::deque<Leaver> gone_;  // as they left; one that came back is here, too
  std::map<std::string, Pod> staged_;
  size_t live_ = 0;
  bool synced_ = false;
  uint64_t version_ = 0;
};

}  // namespace slogate
