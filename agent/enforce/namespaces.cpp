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
#include <vector>

#include "bpf/netns.skel.h"
#include "maps/bpf_map.h"

namespace slogate {
namespace {

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

Result<Namespaces> Namespaces::attach(int sockets) {
  Namespaces made;
  size_t size = 0;
  const void* elf = netns_bpf__elf_bytes(&size);
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "netns_bpf");
  made.object_.reset(bpf_object__open_mem(elf, size, &options));
  bpf_object* const object = made.object_.get();
  if (object == nullptr) return fail(system_error("object netns cannot be read", errno));
  if (const int error = bpf_object__load(object); error != 0)
    return fail(bpf_error("cannot load what learns network namespaces", error));
  made.iterator_.reset(
      attach_iterator(bpf_object__find_program_by_name(object, "find_netns"), sockets));
  if (!made.iterator_) return fail(bpf_error("cannot attach find_netns", errno));
  made.learner_.reset(bpf_program__attach(bpf_object__find_program_by_name(object, "learn_netns")));
  if (!made.learner_) return fail(bpf_error("cannot attach learn_netns", errno));
  made.map_ = bpf_object__find_map_fd_by_name(object, "slogate_netns");
  return made;
}

void Namespaces::ask(const std::set<uint64_t>& cgroups) {
  if (cgroups == asked_) return;
  for (const uint64_t cgroup : asked_)
    if (!cgroups.contains(cgroup)) bpf_map_delete_elem(map_, &cgroup);
  constexpr uint64_t unknown = 0;
  for (const uint64_t cgroup : cgroups)
    if (!asked_.contains(cgroup)) bpf_map_update_elem(map_, &cgroup, &unknown, BPF_NOEXIST);
  asked_ = cgroups;
}

Result<void> Namespaces::look() {
  if (std::ranges::none_of(asked_, [this](uint64_t cgroup) { return of(cgroup) == 0; })) return {};
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

uint64_t Namespaces::of(uint64_t cgroup) const {
  uint64_t number = 0;
  return bpf_map_lookup_elem(map_, &cgroup, &number) == 0 ? number : 0;
}

}  // namespace slogate
