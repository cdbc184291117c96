// SPDX-License-Identifier: Apache-2.0
#include "tests/support/load/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/support/net.h"

namespace slogate::support {
namespace {

constexpr size_t kMostWorkers = 256;
constexpr size_t kReadSize = 64 << 10;

constexpr Count<ServeFacts> kCounts[] = {
    {"connections", &ServeFacts::connections},
    {"requests", &ServeFacts::requests},
    {"answered", &ServeFacts::answered},
    {"hung", &ServeFacts::hung},
    {"closed_unanswered", &ServeFacts::closed_unanswered},
    {"reset", &ServeFacts::reset},
    {"abandoned", &ServeFacts::abandoned},
    {"failed", &ServeFacts::failed},
    {"bursts", &ServeFacts::bursts},
    {"reads", &ServeFacts::reads},
    {"send_calls", &ServeFacts::send_calls},
    {"bytes_in", &ServeFacts::bytes_in},
    {"bytes_out", &ServeFacts::bytes_out},
    {"closed_by_peer", &ServeFacts::closed_by_peer},
    {"truncated", &ServeFacts::truncated},
};

// The receive time stamp is on the wall clock; its age is the same on ours.
Clock::time_point to_arrival(const msghdr& message, Clock::time_point otherwise) {
  auto* part = CMSG_FIRSTHDR(&message);
  if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS)
    return otherwise;
  timespec stamp{}, wall{};
  std::memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
  ::clock_gettime(CLOCK_REALTIME, &wall);
  const auto age =
      std::chrono::seconds(wall.tv_sec - stamp.tv_sec) + Nanoseconds(wall.tv_nsec - stamp.tv_nsec);
  return Clock::now() - age;
}

}  // namespace

void add_facts(ServeFacts& to, const ServeFacts& from) {
  add_counts<ServeFacts>(kCounts, to, from);
  add_tally(to.errors, from.errors);
  to.service.add(from.service);
  to.latency.add(from.latency);
}

nlohmann::ordered_json to_json(const ServeFacts& facts) {
  nlohmann::ordered_json json;
  put_counts<ServeFacts>(kCounts, facts, json);
  json["errors"] = facts.errors;
  json["service"] = facts.service.to_json();
  json["latency"] = facts.latency.to_json();
  return json;
}

// A connection belongs to the one worker that epoll gave it to, until that arms it again.
struct Server::Connection {
  Fd fd;
  std::unique_ptr<Answer> answer;
  Framer framer = {};
  uint64_t answered = 0;
  Clock::time_point free_at = {};  // when the last answer had been sent
};

Server::Server(const ServeOptions& options, const Flag& stop)
    : options_(options),
      stop_(stop),
      start_(Clock::now()),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      service_(options.service, options.changes, options.seed),
      error_random_(options.seed + 2) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop.fd(), &event);
}

Server::~Server() = default;

void Server::take(Fd socket) {
  const int fd = socket.get();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options_.kernel_stamp) set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  set_send_timeout(fd);
  auto owned = std::make_unique<Connection>(
      Connection{.fd = std::move(socket), .answer = make_answer(options_.answer, fd, stop_)});
  Connection* connection = owned.get();
  size_t open = 0;
  {
    const std::scoped_lock lock(connections_mutex_);
    connections_.emplace(connection, std::move(owned));
    open = connections_.size();
  }
  ++taken_;
  if (workers_.size() < std::min(open, kMostWorkers)) {
    ServeFacts& facts = facts_.emplace_back();
    workers_.emplace_back([this, &facts] { work(facts); });
  }
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.ptr = connection}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) drop(*connection);
}

ServeFacts Server::finish() {
  workers_.clear();
  ServeFacts sum;
  for (const ServeFacts& facts : facts_) add_facts(sum, facts);
  sum.connections = taken_;
  connections_.clear();
  return sum;
}

void Server::work(ServeFacts& facts) {
  while (!stop_.raised()) {
    epoll_event event{};
    if (::epoll_wait(epoll_.get(), &event, 1, -1) != 1 || !event.data.ptr) continue;
    auto& connection = *static_cast<Connection*>(event.data.ptr);
    if (event.events & EPOLLERR) connection.answer->reap();
    // An error queue alone makes nothing readable.
    const bool readable = event.events & (EPOLLIN | EPOLLHUP);
    if (!readable || serve(connection, facts))
      rearm(connection, facts);
    else
      drop(connection);
  }
}

// Reads once and answers what has become whole. Returns false when the connection is to be closed.
bool Server::serve(Connection& connection, ServeFacts& facts) {
  const Clock::time_point woken = Clock::now();
  if (options_.read_delay.count() > 0 && !sleep_until_exactly(woken + options_.read_delay, stop_))
    return false;

  thread_local std::array<char, kReadSize> buffer;
  const Received received = receive(connection, buffer, woken);
  if (received.bytes < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    ++facts.errors[to_errno_name(errno)];
    return false;
  }
  if (received.bytes == 0) {
    ++facts.closed_by_peer;
    if (!connection.framer.idle()) ++facts.truncated;
    return false;
  }
  ++facts.reads;
  if (connection.framer.idle()) ++facts.bursts;
  const auto size = static_cast<size_t>(received.bytes);
  facts.bytes_in += size;

  std::vector<Frame> requests;
  const bool good = connection.framer.feed({buffer.data(), size}, received.since, requests);
  for (const Frame& request : requests)
    if (!handle(connection, request, facts)) return false;
  if (!good) ++facts.errors["bad_request"];
  return good;
}

Server::Received Server::receive(const Connection& connection, std::span<char> buffer,
                                 Clock::time_point woken) const {
  std::array<char, 128> control{};
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t bytes = ::recvmsg(connection.fd.get(), &message, MSG_DONTWAIT);
  if (!options_.kernel_stamp || bytes <= 0) return {bytes, woken};
  return {bytes, to_arrival(message, woken)};
}

// Returns false when the connection is to be closed.
bool Server::handle(Connection& connection, const Frame& request, ServeFacts& facts) {
  ++facts.requests;
  if (options_.hang_after && tickets_.fetch_add(1) >= *options_.hang_after)
    return ++facts.hung, true;
  if (options_.close_without_answer) return ++facts.closed_unanswered, false;
  if ((options_.reset_after && connection.answered >= *options_.reset_after) || draw_error()) {
    close_with_reset(std::move(connection.fd));
    return ++facts.reset, false;
  }
  return answer(connection, request, facts);
}

bool Server::answer(Connection& connection, const Frame& request, ServeFacts& facts) {
  const Nanoseconds service = draw_service();
  // One after the other: a pipelined request waits for the answer before its own.
  const Clock::time_point begin = std::max(request.last, connection.free_at);
  connection.answer->prepare(request.id);
  if (!sleep_until_exactly(begin + service, stop_)) return ++facts.abandoned, false;

  const Clock::time_point sending = Clock::now();
  const Sent sent = connection.answer->transmit();
  connection.free_at = Clock::now();
  facts.send_calls += sent.calls;
  facts.bytes_out += sent.bytes;
  if (sent.error != 0) {
    if (sent.error == EINTR) return ++facts.abandoned, false;
    ++facts.failed;
    ++facts.errors[to_errno_name(sent.error)];
    return false;
  }
  ++facts.answered;
  ++connection.answered;
  facts.service.add(service);
  facts.latency.add(sending - request.first);
  return true;
}

void Server::rearm(Connection& connection, ServeFacts& facts) {
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.ptr = &connection}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event) == 0) return;
  ++facts.errors[to_errno_name(errno)];
  drop(connection);
}

void Server::drop(Connection& connection) {
  const std::scoped_lock lock(connections_mutex_);
  connections_.erase(&connection);
}

Nanoseconds Server::draw_service() {
  const std::scoped_lock lock(draws_mutex_);
  return service_.next(Clock::now() - start_);
}

bool Server::draw_error() {
  if (options_.error_share <= 0) return false;
  const std::scoped_lock lock(draws_mutex_);
  return static_cast<double>(error_random_() >> 11) * 0x1p-53 < options_.error_share;
}

Tally accept_all(int listener, Nanoseconds delay, Server& server, const Flag& stop) {
  Tally errors;
  while (!stop.raised()) {
    if (wait_for(listener, POLLIN, within(std::chrono::seconds(60)), stop) == 0) continue;
    if (delay.count() > 0 && !sleep_until_exactly(within(delay), stop)) break;
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd)
      server.take(std::move(fd));
    else if (errno != EAGAIN) {
      ++errors[to_errno_name(errno)];
      sleep_until(within(std::chrono::milliseconds(10)), stop);
    }
  }
  return errors;
}

}  // namespace slogate::support
