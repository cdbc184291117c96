// SPDX-License-Identifier: Apache-2.0
#include "agent/http/listen.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace slogate {
namespace {

constexpr mode_t kSocketMode = 0660;     // reading takes membership of the group
constexpr mode_t kDirectoryMode = 0755;  // the socket itself says who may connect

std::unexpected<Error> fail_errno(std::string_view what) {
  return fail(system_error(what, errno));
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(fmt::format("the path of a socket has 1 to {} bytes", sizeof address.sun_path - 1),
                "choose another one with --socket");
  path.copy(address.sun_path, path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  // The socket calls take every kind of address through this one type.
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<void> create_parent(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (parent.empty() || ::mkdir(parent.c_str(), kDirectoryMode) != 0) {
    if (parent.empty() || errno == EEXIST) return {};
    return fail_errno(fmt::format("cannot create {}", parent));
  }
  // What the umask took away would keep the group out.
  if (::chmod(parent.c_str(), kDirectoryMode) != 0)
    return fail_errno(fmt::format("cannot set the mode of {}", parent));
  return {};
}

// What connecting to `address` brings: 0 or an errno.
Result<int> try_connect(const sockaddr_un& address) {
  // Not blocking, or a full backlog would keep us waiting.
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail_errno("cannot create a socket");
  return ::connect(probe.get(), generic(address), sizeof address) == 0 ? 0 : errno;
}

// Two agents that start in the same instant can both find the same stale socket; the second look
// leaves a gap of microseconds in which the later one would win.
Result<void> remove_stale(const std::string& path, const struct stat& seen) {
  if (seen.st_uid != ::geteuid() && seen.st_uid != 0)
    return fail(fmt::format("{} is a stale socket of uid {}", path, seen.st_uid),
                "remove it, or choose another path with --socket");
  struct stat now {};
  if (::lstat(path.c_str(), &now) != 0 && errno == ENOENT) return {};
  if (now.st_ino != seen.st_ino || now.st_dev != seen.st_dev)
    return fail(fmt::format("{} changed while it was looked at", path),
                "is another agent starting?");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(fmt::format("cannot remove the stale socket {}", path));
  return {};
}

// Makes sure that nothing is at `path`, without harming anything that is not ours.
Result<void> clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat seen {};
  // Never through a symbolic link: whoever can make one must not choose what we remove.
  if (::lstat(path.c_str(), &seen) != 0)
    return errno == ENOENT ? Result<void>{} : fail_errno(fmt::format("cannot look at {}", path));
  if (!S_ISSOCK(seen.st_mode))
    return fail(fmt::format("{} is there and is not a socket", path),
                "remove it, or choose another path with --socket");
  const auto outcome = try_connect(address);
  if (!outcome) return fail(outcome.error());
  if (*outcome == ENOENT) return {};
  if (*outcome == ECONNREFUSED) return remove_stale(path, seen);
  if (*outcome == 0 || *outcome == EAGAIN)
    return fail(fmt::format("another agent is listening on {}", path),
                "stop it, or choose another path with --socket");
  return fail(system_error(fmt::format("{} is in use", path), *outcome));
}

// Nothing when there is no such group.
std::optional<gid_t> find_group(const std::string& name) {
  if (name.empty()) return std::nullopt;
  std::vector<char> buffer(1 << 16);  // a group of many members is long
  struct group entry {};
  struct group* found = nullptr;
  const int error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0 || found == nullptr) return std::nullopt;
  return found->gr_gid;
}

// Group and mode of the socket file that was just bound.
Result<SocketFile> give_to_group(const std::string& path, const std::string& group) {
  const Fd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat seen {};
  if (!file || ::fstat(file.get(), &seen) != 0)
    return fail_errno(fmt::format("cannot open {}", path));
  SocketFile owner(path, seen.st_dev, seen.st_ino);
  const auto gid = find_group(group);
  if (gid && ::fchownat(file.get(), "", static_cast<uid_t>(-1), *gid, AT_EMPTY_PATH) != 0)
    return fail_errno(fmt::format("cannot give {} to group {}", path, group));
  // fchmod() refuses O_PATH descriptors; the path would be looked up anew.
  if (::chmod(fmt::format("/proc/self/fd/{}", file.get()).c_str(), kSocketMode) != 0)
    return fail_errno(fmt::format("cannot set the mode of {}", path));
  return owner;
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<Addresses> resolve(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // No names: start-up must not wait for a name server.
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  const int error =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found);
  if (error != 0)
    return fail(::gai_strerror(error), "write an IP address, for example 127.0.0.1 or ::1");
  return Addresses(found, &::freeaddrinfo);
}

Result<ListeningSocket> bind_tcp(const addrinfo& address) {
  Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("cannot create a socket");
  const int on = 1;
  // A restart must not wait for the connections of the run before; and accepted sockets inherit
  // TCP_NODELAY, or the tail of a large answer would wait for an ACK.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    const bool in_use = errno == EADDRINUSE;
    Error error = system_error("cannot bind", errno);
    if (in_use) error.remedy = "another program has it; choose another port, or stop that program";
    return fail(std::move(error));
  }
  return ListeningSocket{std::move(fd), {}};
}

}  // namespace

SocketFile::~SocketFile() {
  struct stat now {};
  if (path_.empty() || ::lstat(path_.c_str(), &now) != 0) return;
  if (now.st_dev == device_ && now.st_ino == inode_) (void)::unlink(path_.c_str());
}

void SocketFile::swap(SocketFile& other) noexcept {
  path_.swap(other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
}

uint16_t ListeningSocket::local_port() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  return 0;
}

Result<ListeningSocket> listen_unix(const std::string& path, const std::string& group) {
  const auto address = unix_address(path);
  if (!address) return fail(address.error());
  if (auto made = create_parent(path); !made) return fail(made.error());
  if (auto cleared = clear_path(path, *address); !cleared) return fail(cleared.error());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::bind(fd.get(), generic(*address), sizeof *address) != 0)
    return fail_errno(fmt::format("cannot bind {}", path));
  // Nobody can connect before listen(), so the mode that bind() gave the file never matters.
  auto file = give_to_group(path, group);
  if (!file) return fail(file.error());
  if (::listen(fd.get(), SOMAXCONN) != 0)
    return fail_errno(fmt::format("cannot listen on {}", path));
  return ListeningSocket{std::move(fd), std::move(*file)};
}

Result<ListeningSocket> listen_tcp(const std::string& host, uint16_t port) {
  const std::string outer = fmt::format("cannot listen on {}:{}", host, port);
  auto addresses = resolve(host, port);
  if (!addresses) return fail(addresses.error().within(outer));
  auto socket = bind_tcp(**addresses);
  if (!socket) return fail(socket.error().within(outer));
  return socket;
}

}  // namespace slogate
