// SPDX-License-Identifier: Apache-2.0
// Sockets that other processes can connect to.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "maps/error.h"
#include "maps/fd.h"

namespace slogate {

// The file of a Unix socket. Goes with its owner, unless another file has taken its place.
class SocketFile {
 public:
  SocketFile() = default;
  SocketFile(std::string path, dev_t device, ino_t inode)
      : path_(std::move(path)), device_(device), inode_(inode) {}
  SocketFile(SocketFile&& other) noexcept { swap(other); }
  SocketFile& operator=(SocketFile&& other) noexcept {
    swap(other);
    return *this;
  }
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile();

  void swap(SocketFile& other) noexcept;

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// A bound, listening, non-blocking socket.
struct ListeningSocket {
  Fd fd;
  SocketFile file;  // after fd, so removed first: while the file is there, somebody listens

  // The TCP port, host order; 0 for a Unix socket.
  [[nodiscard]] uint16_t local_port() const;
};

// Mode 0660, and group `group` if there is such a group ("" leaves it as it is). Creates the parent
// directory (0755). Takes the place of a socket nobody answers on, if it is ours or root's; any
// other file at `path`, and an agent that answers, are errors.
Result<ListeningSocket> listen_unix(const std::string& path, const std::string& group);

// `host` is an IP address, "" for all of them; port 0 lets the kernel choose one.
Result<ListeningSocket> listen_tcp(const std::string& host, uint16_t port);

}  // namespace slogate
