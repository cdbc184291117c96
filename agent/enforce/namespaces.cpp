// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/namespaces.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/types.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <vector>

#include "agent/base/log.h"
#include "bpf/netns.skel.h"
#include "maps/bpf_map.h"
#include "maps/breaker.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// Between two passes over all sockets while a cgroup has none that tells.
constexpr std::chrono::nanoseconds kFirstWait = 10s, kLongestWait = 60s;

// What goes over the sockets that are there, the best first.
constexpr const char* kOverMap = "find_netns";
constexpr const char* kOverFiles = "find_netns_by_file";

// A file of the namespace that has this number; nothing where it is something else.
Fd open_if(const std::string& path, uint64_t number) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || status.st_ino != number) return {};
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  // By name it may be another one by now, and on another file system the number says nothing.
  struct statfs system {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || status.st_ino != number ||
      ::fstatfs(fd.get(), &system) != 0 || system.f_type != NSFS_MAGIC)
    return {};
  return fd;
}

bpf_link* attach_iterator(bpf_program* program, int sockets) {
  if (bpf_program__name(program) == std::string_view(kOverFiles))
    return bpf_program__attach_iter(program, nullptr);
  bpf_iter_link_info link{};
  link.map.map_fd = static_cast<__u32>(sockets);
  LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &link, .link_info_len = sizeof(link));
  return bpf_program__attach_iter(program, &options);
}

}  // namespace

std::span<const std::string> netns_directories() {
  static const std::array<std::string, 2> directories = {"/run/netns", "/run/docker/netns"};
  return directories;
}

Result<Fd> open_netns(std::span<const std::string> directories, uint64_t number) {
  for (const std::string& directory : directories) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error))
      if (Fd fd = open_if(entry.path(), number)) return fd;
  }
  std::string places;
  for (const std::string& directory : directories)
    places += (places.empty() ? "" : " or ") + directory;
  return fail(fmt::format("its network namespace, {}, is not in {}", number, places),
              "in a container these have to be mounted: daemonset/components/enforce");
}

uint64_t own_netns() {
  struct stat status {};
  return ::stat("/proc/self/ns/net", &status) == 0 ? status.st_ino : 0;
}

bool is_in_nodes_netns() {
  return ::access("/proc/sys/net/core/dev_weight", F_OK) == 0;
}

void Namespaces::ObjectDeleter::operator()(bpf_object* object) const {
  bpf_object__close(object);
}
void Namespaces::LinkDeleter::operator()(bpf_link* link) const {
  bpf_link__destroy(link);
}

Namespaces::Namespaces(Namespaces&&) noexcept = default;
Namespaces::~Namespaces() = default;

// With one of the programs that go over sockets, or none of them.
Result<void> Namespaces::load(const char* finder, int sockets) {
  iterator_.reset();
  learner_.reset();
  size_t size = 0;
  const void* elf = netns_bpf__elf_bytes(&size);
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "netns_bpf");
  object_.reset(bpf_object__open_mem(elf, size, &options));
  bpf_object* const object = object_.get();
  if (object == nullptr) return fail(system_error("object netns cannot be read", errno));
  bpf_program* found = nullptr;
  for (const char* name : {kOverMap, kOverFiles}) {
    bpf_program* const program = bpf_object__find_program_by_name(object, name);
    const bool wanted = finder != nullptr && std::string_view(name) == finder;
    bpf_program__set_autoload(program, wanted);
    if (wanted) found = program;
  }
  if (const int error = bpf_object__load(object); error != 0)
    return fail(bpf_error("cannot load what learns network namespaces", error));
  if (found != nullptr) {
    iterator_.reset(attach_iterator(found, sockets));
    if (!iterator_) return fail(bpf_error(fmt::format("cannot attach {}", finder), errno));
  }
  learner_.reset(bpf_program__attach(bpf_object__find_program_by_name(object, "learn_netns")));
  if (!learner_) return fail(bpf_error("cannot attach learn_netns", errno));
  map_ = bpf_object__find_map_fd_by_name(object, "slogate_netns");
  return {};
}

Result<Namespaces> Namespaces::attach(int sockets) {
  Namespaces made;
  Result<void> done;
  for (const char* finder : {kOverMap, kOverFiles, static_cast<const char*>(nullptr)}) {
    done = made.load(finder, sockets);
    if (!done) continue;
    log_change("breaker: search for sockets",
               finder == nullptr
                   ? "the kernel refuses it: what is where is known once it has a new "
                     "connection"
                   : "");
    return made;
  }
  return fail(done.error());
}

Result<void> Namespaces::ask(const std::set<uint64_t>& cgroups) {
  if (cgroups == asked_) return {};
  for (auto one = asked_.begin(); one != asked_.end();) {
    const uint64_t cgroup = *one;
    if (!cgroups.contains(cgroup)) bpf_map_delete_elem(map_, &cgroup);
    one = cgroups.contains(cgroup) ? std::next(one) : asked_.erase(one);
  }
  constexpr uint64_t unknown = 0;
  Result<void> done;
  for (const uint64_t cgroup : cgroups) {
    if (asked_.contains(cgroup)) continue;
    if (bpf_map_update_elem(map_, &cgroup, &unknown, BPF_NOEXIST) != 0) {
      done = fail(bpf_error("not all cgroups can be asked for", errno));
      continue;
    }
    asked_.insert(cgroup);
    next_ = wait_ = {};
  }
  return done;
}

Result<void> Namespaces::look(std::chrono::nanoseconds now) {
  if (!iterator_ || (wait_ != 0s && now < next_) ||
      std::ranges::none_of(asked_, [this](uint64_t cgroup) { return of(cgroup) == 0; }))
    return {};
  wait_ = wait_ == 0s ? kFirstWait : std::min(2 * wait_, kLongestWait);
  next_ = now + wait_;
  return pass();
}

Result<void> Namespaces::pass() {
  ++passes_;
  const Fd pass(bpf_iter_create(bpf_link__fd(iterator_.get())));
  if (!pass) return fail(bpf_error("cannot look for network namespaces", errno));
  // It says nothing: what it finds is in the map.
  std::array<char, 64> nothing;
  for (;;) {
    const ssize_t got = ::read(pass.get(), nothing.data(), nothing.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return fail(bpf_error("cannot look for network namespaces", errno));
    if (got == 0) return {};
  }
}

// A word of another cgroup is one that was written late, into an element that was that one's.
uint64_t Namespaces::of(uint64_t cgroup) const {
  uint64_t word = 0;
  if (bpf_map_lookup_elem(map_, &cgroup, &word) != 0) return 0;
  const auto number = static_cast<uint32_t>(word);
  return word == SLOGATE_NETNS_WORD(cgroup, number) ? number : 0;
}

}  // namespace slogate
