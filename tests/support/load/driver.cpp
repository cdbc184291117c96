// SPDX-License-Identifier: Apache-2.0
#include "tests/support/load/driver.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>

namespace slogate::support {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(5);
constexpr auto kAfterStop = std::chrono::seconds(2);
constexpr auto kAfterFailure = std::chrono::milliseconds(10);

constexpr Count<DriveFacts> kCounts[] = {
    {"attempted", &DriveFacts::attempted},     {"sent", &DriveFacts::sent},
    {"not_sent", &DriveFacts::not_sent},       {"answered", &DriveFacts::answered},
    {"unanswered", &DriveFacts::unanswered},   {"wrong_id", &DriveFacts::wrong_id},
    {"bursts", &DriveFacts::bursts},           {"send_calls", &DriveFacts::send_calls},
    {"connections", &DriveFacts::connections}, {"bytes_out", &DriveFacts::bytes_out},
    {"bytes_in", &DriveFacts::bytes_in},
};

}  // namespace

void add_facts(DriveFacts& to, const DriveFacts& from) {
  add_counts<DriveFacts>(kCounts, to, from);
  add_tally(to.connect_errors, from.connect_errors);
  add_tally(to.errors, from.errors);
  to.latency.add(from.latency);
  to.first_byte.add(from.first_byte);
  to.lateness.add(from.lateness);
}

nlohmann::ordered_json to_json(const DriveFacts& facts) {
  nlohmann::ordered_json json;
  put_counts<DriveFacts>(kCounts, facts, json);
  json["connect_errors"] = facts.connect_errors;
  json["errors"] = facts.errors;
  json["latency"] = facts.latency.to_json();
  json["first_byte"] = facts.first_byte.to_json();
  if (facts.lateness.count() > 0) json["lateness"] = facts.lateness.to_json();
  return json;
}

Driver::Driver(const DriveOptions& options, uint64_t number, const Flag& stop)
    : options_(options), stop_(stop), next_id_(number << 40) {}

void Driver::connect() {
  if (!options_.connect_per_request) open_connection();
}

void Driver::run() {
  const Clock::time_point start = Clock::now();
  if (options_.duration) end_ = start + *options_.duration;
  if (options_.rate > 0)
    run_open(start);
  else
    run_closed();
  close_connection();
}

bool Driver::more_requests() const {
  return !stop_.raised() && (!options_.requests || facts_.attempted < *options_.requests);
}

void Driver::run_closed() {
  while (more_requests() && Clock::now() < end_) {
    attempt();
    await_answers(within(options_.answer_timeout));
    if (options_.connect_per_request) close_connection();
    if (options_.think.count() > 0) sleep_until(std::min(within(options_.think), end_), stop_);
  }
}

// Answers are read while the time of the next burst is waited for. A burst whose time is before the
// end is sent even when it is late, so that their number is rate x duration, rounded up.
void Driver::run_open(Clock::time_point start) {
  for (uint64_t number = 0; more_requests(); ++number) {
    const auto due =
        start + Nanoseconds(std::llround(static_cast<double>(number) * 1e9 / options_.rate));
    if (due >= end_) break;
    while (Clock::now() < due && !stop_.raised()) await_some(due);
    if (stop_.raised()) break;
    facts_.lateness.add(Clock::now() - due);
    attempt();
    while (await_some(Clock::now())) {
    }
  }
  await_answers(within(options_.answer_timeout));
}

bool Driver::open_connection() {
  Connected connected = connect_to(options_.address, kConnectTimeout, 0, stop_);
  if (!connected.fd) {
    ++facts_.connect_errors[connected.gave_up ? "gave_up" : to_errno_name(connected.error)];
    return false;
  }
  ++facts_.connections;
  fd_ = std::move(connected.fd);
  framer_ = {};
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_send_timeout(fd_.get());
  return true;
}

// One burst, on a connection made for it when there is none.
void Driver::attempt() {
  uint64_t count = options_.pipeline;
  if (options_.requests) count = std::min(count, *options_.requests - facts_.attempted);
  facts_.attempted += count;
  if ((fd_ || open_connection()) && send_burst(static_cast<unsigned>(count))) {
    facts_.sent += count;
    ++facts_.bursts;
    return;
  }
  facts_.not_sent += count;
  sleep_until(within(kAfterFailure), stop_);
}

bool Driver::send_burst(unsigned count) {
  burst_.assign(count * options_.request_size, 'q');
  for (unsigned i = 0; i < count; ++i)
    put_header(std::span(burst_).subspan(i * options_.request_size), next_id_ + i,
               options_.request_size);

  const Clock::time_point sent_at = Clock::now();
  const size_t piece = burst_.size() / options_.segments;
  for (unsigned i = 0; i < options_.segments; ++i) {
    const bool last = i + 1 == options_.segments;
    const std::span<const char> bytes =
        std::span(burst_).subspan(i * piece, last ? std::dynamic_extent : piece);
    if (i > 0) sleep_until(within(options_.gap), stop_);
    // Kept back until the FIN joins it in one segment.
    if (!send_piece(bytes, last && options_.half_close ? MSG_MORE : 0)) return false;
  }
  for (unsigned i = 0; i < count; ++i) outstanding_.push_back({next_id_++, sent_at});
  if (options_.half_close) ::shutdown(fd_.get(), SHUT_WR);
  return true;
}

// EAGAIN is the send timeout's: the peer does not read.
bool Driver::send_piece(std::span<const char> piece, int flags) {
  const Deadline deadline = within(options_.answer_timeout);
  while (!piece.empty()) {
    const ssize_t n = ::send(fd_.get(), piece.data(), piece.size(), flags | MSG_NOSIGNAL);
    if (n >= 0) {
      ++facts_.send_calls;
      facts_.bytes_out += static_cast<uint64_t>(n);
      piece = piece.subspan(static_cast<size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      return fail_connection(to_errno_name(errno)), false;
    } else if (Clock::now() >= to_patience(deadline)) {
      return fail_connection("send_timeout"), false;
    }
  }
  return true;
}

// After `stop` nobody waits longer than kAfterStop.
Deadline Driver::to_patience(Deadline wanted) {
  if (!stop_.raised()) return wanted;
  if (!stopped_at_) stopped_at_ = Clock::now();
  return std::min(wanted, *stopped_at_ + kAfterStop);
}

void Driver::await_answers(Deadline deadline) {
  while (!outstanding_.empty()) {
    await_some(to_patience(deadline));
    if (!outstanding_.empty() && Clock::now() >= to_patience(deadline))
      fail_connection("answer_timeout");
  }
}

// Returns false when nothing came. Wakes up for `stop` only while it has not come.
bool Driver::await_some(Deadline deadline) {
  const Flag& stop = stop_.raised() ? never_ : stop_;
  if (wait_for(fd_.get(), POLLIN, deadline, stop) == 0) return false;
  thread_local std::array<char, 256 << 10> buffer;
  const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n > 0)
    take_answers({buffer.data(), static_cast<size_t>(n)});
  else if (n == 0)
    fail_connection("eof");
  else if (errno != EAGAIN && errno != EINTR)
    fail_connection(to_errno_name(errno));
  return true;
}

void Driver::take_answers(std::span<const char> bytes) {
  facts_.bytes_in += bytes.size();
  std::vector<Frame> answers;
  const bool good = framer_.feed(bytes, Clock::now(), answers);
  for (const Frame& answer : answers) {
    if (outstanding_.empty()) return fail_connection("bad_answer");
    const Outstanding request = outstanding_.front();
    outstanding_.pop_front();
    ++facts_.answered;
    if (answer.id != request.id) ++facts_.wrong_id;
    facts_.latency.add(answer.last - request.sent_at);
    facts_.first_byte.add(answer.first - request.sent_at);
  }
  if (!good) fail_connection("bad_answer");
}

void Driver::fail_connection(const std::string& why) {
  ++facts_.errors[why];
  close_connection();
}

void Driver::close_connection() {
  facts_.unanswered += outstanding_.size();
  outstanding_.clear();
  fd_.reset();
}

}  // namespace slogate::support
