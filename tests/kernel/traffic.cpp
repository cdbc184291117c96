// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/traffic.h"

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace slogate {

struct Traffic::Shared {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> answered{0};
};

void Traffic::Unmap::operator()(Shared* shared) const {
  munmap(shared, sizeof(Shared));
}

Traffic::Shared* Traffic::make_shared_memory() {
  void* memory =
      // cppcheck-suppress invalidFunctionArg ; no file
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  return new (memory) Shared;
}

namespace {

void answer_all(int fd) {
  char byte = 0;
  while (recv(fd, &byte, 1, 0) == 1)
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) break;
  close(fd);
}

}  // namespace

void Traffic::work(Shared& shared, int connections, std::chrono::microseconds think) {
  // What the test has open is not ours to keep open: locks and maps go with their last descriptor.
  close_range(3, UINT32_MAX, 0);
  const Fd listener(check(socket(AF_INET, SOCK_STREAM, 0), "socket"));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  check(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), "bind");
  check(listen(listener.get(), connections), "listen");
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);

  std::vector<std::jthread> threads;
  for (int i = 0; i < connections; ++i) {
    threads.emplace_back([&shared, address, think] {
      const Fd client(check(socket(AF_INET, SOCK_STREAM, 0), "socket"));
      check(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            "connect");
      char byte = 'x';
      while (!shared.stop) {
        check(send(client.get(), &byte, 1, MSG_NOSIGNAL), "send");
        check(recv(client.get(), &byte, 1, 0), "recv");
        ++shared.answered;
        if (think.count() != 0) std::this_thread::sleep_for(think);
      }
    });
    const int served = check(accept(listener.get(), nullptr, nullptr), "accept");
    threads.emplace_back([served] { answer_all(served); });
  }
}

Traffic::Traffic(const TestCgroup& cgroup, int connections, std::chrono::microseconds think)
    : shared_(make_shared_memory()),
      child_(cgroup, [this, connections, think] { work(*shared_, connections, think); }) {
  if (!eventually([this] { return shared_->answered > 100; }))
    throw std::runtime_error("the traffic did not start");
}

uint64_t Traffic::stop() {
  shared_->stop = true;
  child_.join();
  return shared_->answered;
}

}  // namespace slogate
