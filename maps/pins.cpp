// SPDX-License-Identifier: Apache-2.0
#include "maps/pins.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <filesystem>

#include "maps/bpf_map.h"

namespace slogate {

Result<PinDir> PinDir::open(const std::string& path) {
  const auto refused = [&path](std::string_view why, std::string remedy) {
    return fail(fmt::format("pin directory {} {}", path, why), std::move(remedy));
  };
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return refused(system_error("cannot be made", errno).message,
                   "mount bpffs: mount -t bpf bpf /sys/fs/bpf; or use --pin-dir none");
  Fd lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!lock) return refused(system_error("cannot be opened", errno).message, "");

  struct statfs where {};
  if (fstatfs(lock.get(), &where) != 0 || where.f_type != BPF_FS_MAGIC) {
    rmdir(path.c_str());  // only when we have just made it: it is empty then
    return refused("is not on a BPF file system",
                   "mount bpffs: mount -t bpf bpf /sys/fs/bpf; or use --pin-dir none");
  }
  struct stat status {};
  if (fstat(lock.get(), &status) != 0 || status.st_uid != geteuid())
    return refused("belongs to another user", "remove it or choose another with --pin-dir");
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return refused("is in use by another agent",
                   "stop that agent, or give this one its own with "
                   "--pin-dir and --socket");
  return PinDir(path, std::move(lock));
}

std::string PinDir::file(std::string_view name) const {
  return fmt::format("{}/{}", path_, name);
}

std::vector<std::string> PinDir::names() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path_, error))
    names.push_back(entry.path().filename().string());
  return names;
}

bool PinDir::has(std::string_view name) const {
  return faccessat(lock_.get(), std::string(name).c_str(), F_OK, 0) == 0;
}

bool PinDir::is_reachable() const {
  struct stat ours {
  }, there{};
  return fstat(lock_.get(), &ours) == 0 && stat(path_.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

Result<void> PinDir::make_anew() {
  auto next = open(path_);
  if (!next) return fail(next.error());
  if (!next->names().empty())
    return fail(fmt::format("pin directory {} has the pins of another agent", path_),
                "restart this one, and it takes them up");
  *this = std::move(*next);
  return {};
}

Result<Fd> PinDir::get(std::string_view name) const {
  const int fd = bpf_obj_get(file(name).c_str());
  if (fd < 0) return fail(bpf_error(fmt::format("cannot open pin {}", file(name)), fd));
  return Fd(fd);
}

Result<void> PinDir::pin(int fd, std::string_view name) const {
  if (!is_reachable()) return {};
  if (const int error = bpf_obj_pin(fd, file(name).c_str()); error != 0)
    return fail(bpf_error(fmt::format("cannot pin {}", file(name)), error));
  return {};
}

Result<void> PinDir::keep(int fd, std::string_view name) const {
  return has(name) ? Result<void>{} : pin(fd, name);
}

Result<void> PinDir::rename(std::string_view from, std::string_view to) const {
  if (::rename(file(from).c_str(), file(to).c_str()) != 0)
    return fail(system_error(fmt::format("cannot rename pin {}", file(from)), errno));
  return {};
}

void PinDir::unpin(std::string_view name) const {
  ::unlink(file(name).c_str());
}

Result<void> PinDir::remove_all() const {
  for (const std::string& name : names()) unpin(name);
  if (rmdir(path_.c_str()) != 0)
    return fail(system_error(fmt::format("cannot remove {}", path_), errno));
  return {};
}

}  // namespace slogate
