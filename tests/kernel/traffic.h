// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "tests/kernel/world.h"

namespace slogate {

// Requests over loopback, as fast as one server thread answers, from a process of its own until
// stop(). Server and client belong to the same cgroup.
class Traffic {
 public:
  explicit Traffic(const TestCgroup& cgroup, int connections = 4);
  // Ends it after the last answer has been read; how many requests were answered in all.
  uint64_t stop();

 private:
  struct Shared;  // memory that both processes see
  struct Unmap {
    void operator()(Shared* shared) const;
  };
  static Shared* make_shared_memory();
  static void work(Shared& shared, int connections);

  std::unique_ptr<Shared, Unmap> shared_;
  Child child_;
};

}  // namespace slogate
