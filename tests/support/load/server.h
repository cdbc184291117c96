// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <unordered_map>

#include "maps/fd.h"
#include "tests/support/frame.h"
#include "tests/support/latencies.h"
#include "tests/support/load/answer.h"
#include "tests/support/load/facts.h"
#include "tests/support/service.h"

namespace slogate::support {

// How requests are served.
struct ServeOptions {
  Distribution service = Constant{};
  std::vector<Change> changes;
  uint64_t seed = 1;
  AnswerPlan answer;
  Nanoseconds read_delay{0};            // from readable to the first recv()
  bool kernel_stamp = false;            // count from SO_TIMESTAMPNS instead of from the wake-up
  std::optional<uint64_t> hang_after;   // requests of the whole server
  std::optional<uint64_t> reset_after;  // requests of each connection
  bool close_without_answer = false;
  double error_share = 0;  // of the requests: reset instead of answered
};

// What a server did. requests = answered + hung + closed_unanswered + reset + abandoned + failed.
struct ServeFacts {
  uint64_t connections = 0;
  uint64_t requests = 0;           // that arrived whole
  uint64_t answered = 0;           // handed to the kernel whole
  uint64_t hung = 0;               // read and left without an answer, as asked
  uint64_t closed_unanswered = 0;  // answered with a FIN, as asked
  uint64_t reset = 0;              // answered with a RST, as asked
  uint64_t abandoned = 0;          // the end came first
  uint64_t failed = 0;             // an error came while sending
  uint64_t bursts = 0;             // recv()s that began when all requests before had been answered
  uint64_t reads = 0;              // recv()s that brought bytes
  uint64_t send_calls = 0;         // calls that took bytes of an answer
  uint64_t bytes_in = 0, bytes_out = 0;
  uint64_t closed_by_peer = 0;  // connections ended by the peer's FIN
  uint64_t truncated = 0;       // of these, in the middle of a request
  Tally errors;                 // of recv, send, epoll, and "bad_request"
  Latencies service;            // the time each answered request was meant to take
  Latencies latency;  // the time it took: first byte readable to just before the first send call
};

void add_facts(ServeFacts& to, const ServeFacts& from);
nlohmann::ordered_json to_json(const ServeFacts& facts);

// Serves any number of connections: a thread for each, up to 256 threads, which then share them.
class Server {
 public:
  // Time for `changes` starts now. Both arguments outlive the server.
  Server(const ServeOptions& options, const Flag& stop);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // Serves a connected, blocking socket. Call from one thread only.
  void take(Fd connection);

  // After `stop` has been raised and the last take(): closes all and sums up.
  ServeFacts finish();

 private:
  struct Connection;
  // What the data that made a socket readable is counted from.
  struct Received {
    ssize_t bytes;
    Clock::time_point since;
  };

  void work(ServeFacts& facts);
  bool serve(Connection& connection, ServeFacts& facts);
  bool handle(Connection& connection, const Frame& request, ServeFacts& facts);
  bool answer(Connection& connection, const Frame& request, ServeFacts& facts);
  [[nodiscard]] Received receive(const Connection& connection, std::span<char> buffer,
                                 Clock::time_point woken) const;
  void rearm(Connection& connection, ServeFacts& facts);
  void drop(Connection& connection);
  Nanoseconds draw_service();
  bool draw_error();

  const ServeOptions& options_;
  const Flag& stop_;
  const Clock::time_point start_;
  Fd epoll_;
  std::atomic<uint64_t> tickets_{0};  // requests so far, for hang_after

  std::mutex draws_mutex_;
  ServiceTimes service_;
  std::mt19937_64 error_random_;

  std::mutex connections_mutex_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  uint64_t taken_ = 0;
  std::deque<ServeFacts> facts_;  // one per worker, which alone writes it
  std::deque<std::jthread> workers_;
};

// Accepts until `stop` and gives the connections to `server`, each `delay` after the listener was
// seen to have one. Returns the errors of accept.
Tally accept_all(int listener, Nanoseconds delay, Server& server, const Flag& stop);

}  // namespace slogate::support
