// SPDX-License-Identifier: Apache-2.0
// Network namespaces of cgroups: which each is in, and how to get hold of one. They go by the inode
// number that the kernel gives each of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "maps/error.h"
#include "maps/fd.h"

struct bpf_link;
struct bpf_object;

namespace slogate {

// Where container runtimes and `ip netns` mount them by name. /proc/PID/ns/net would take
// CAP_SYS_PTRACE, and a PID.
[[nodiscard]] std::span<const std::string> netns_directories();

// The namespace of that number, of those that are mounted in one of the directories.
[[nodiscard]] Result<Fd> open_netns(std::span<const std::string> directories, uint64_t number);

// Of this process.
[[nodiscard]] uint64_t own_netns();

// Whether this process is in the node's own: there alone the kernel shows the settings of what all
// namespaces share.
[[nodiscard]] bool is_in_nodes_netns();

// Learns which namespaces the sockets of some cgroups are in.
class Namespaces {
 public:
  // `sockets`: the map of those that are remembered. Takes CAP_BPF and CAP_PERFMON. Where the
  // kernel lets nobody go over sockets it learns from new connections alone, and says so.
  static Result<Namespaces> attach(int sockets);
  Namespaces(Namespaces&&) noexcept;
  Namespaces& operator=(Namespaces&&) = delete;
  ~Namespaces();

  // Whose are to be known, and of nobody else. Of more than the map holds the others stay unknown,
  // which is an error.
  Result<void> ask(const std::set<uint64_t>& cgroups);
  // A pass over the sockets that are there, where one that is asked for is not known: at once when
  // others are asked for than before, then after 10 s, and after twice as long each time, up to a
  // minute. `now`: CLOCK_MONOTONIC.
  Result<void> look(std::chrono::nanoseconds now);
  [[nodiscard]] uint64_t passes() const { return passes_; }
  // 0 while it is not known.
  [[nodiscard]] uint64_t of(uint64_t cgroup) const;

 private:
  struct ObjectDeleter {
    void operator()(bpf_object* object) const;
  };
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };
  Namespaces() = default;
  Result<void> load(const char* finder, int sockets);
  Result<void> pass();

  std::unique_ptr<bpf_object, ObjectDeleter> object_;
  std::unique_ptr<bpf_link, LinkDeleter> iterator_, learner_;
  int map_ = -1;  // of the object
  std::set<uint64_t> asked_;
  std::chrono::nanoseconds next_{0}, wait_{0};  // the pass after the last one
  uint64_t passes_ = 0;
};

}  // namespace slogate
