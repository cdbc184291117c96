// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "tests/support/frame.h"
#include "tests/support/latencies.h"
#include "tests/support/load/facts.h"
#include "tests/support/net.h"

namespace slogate::support {

// What one connection asks for, and how. A burst is what is sent at once: `pipeline` requests.
struct DriveOptions {
  Address address;
  std::optional<uint64_t> requests;  // of this connection; else until `duration` is over
  std::optional<Nanoseconds> duration;
  double rate = 0;  // bursts per second, whatever the answers do; 0: closed loop
  size_t request_size = kDefaultSize;
  unsigned segments = 1;  // sends that a burst is cut into
  Nanoseconds gap{0};     // between them
  unsigned pipeline = 1;
  bool half_close = false;           // shutdown(SHUT_WR) after each burst; implies the next
  bool connect_per_request = false;  // a connection for each burst
  Nanoseconds think{0};              // closed loop: from the last answer to the next burst
  Nanoseconds answer_timeout = std::chrono::seconds(10);
};

// What came of it. attempted = sent + not_sent, sent = answered + unanswered.
struct DriveFacts {
  uint64_t attempted = 0;
  uint64_t sent = 0;         // handed to the kernel whole
  uint64_t not_sent = 0;     // no connection, or an error before the last byte was handed over
  uint64_t answered = 0;     // whole answers
  uint64_t unanswered = 0;   // the connection or the time ended first
  uint64_t wrong_id = 0;     // answered, but not with the id of the oldest request
  uint64_t bursts = 0;       // that were sent whole
  uint64_t send_calls = 0;   // calls that took bytes of a request
  uint64_t connections = 0;  // that were established
  uint64_t bytes_out = 0, bytes_in = 0;
  Tally connect_errors;  // errno, or "gave_up"
  Tally errors;          // that ended connections: errno, "eof", "answer_timeout", "bad_answer"
  Latencies latency;     // just before the first send call to the last byte of the answer
  Latencies first_byte;  // the same to its first byte
  Latencies lateness;    // open loop: how long after its time a burst was begun
};

void add_facts(DriveFacts& to, const DriveFacts& from);
nlohmann::ordered_json to_json(const DriveFacts& facts);

// Drives one connection at a time, in the calling thread.
class Driver {
 public:
  // `number` makes the ids differ from those of other drivers. All outlive the driver.
  Driver(const DriveOptions& options, uint64_t number, const Flag& stop);

  // Connects ahead of time, unless every burst has a connection of its own.
  void connect();

  // Drives until all is sent, the duration is over or `stop` is raised; what has been sent by then
  // may still be answered, for up to 2 s after `stop`.
  void run();

  [[nodiscard]] const DriveFacts& facts() const { return facts_; }

 private:
  struct Outstanding {
    uint64_t id;
    Clock::time_point sent_at;
  };

  void run_closed();
  void run_open(Clock::time_point start);
  [[nodiscard]] bool more_requests() const;
  bool open_connection();
  void attempt();
  bool send_burst(unsigned count);
  bool send_piece(std::span<const char> piece, int flags);
  void await_answers(Deadline deadline);
  bool await_some(Deadline deadline);
  void take_answers(std::span<const char> bytes);
  void fail_connection(const std::string& why);
  void close_connection();
  Deadline to_patience(Deadline wanted);

  const DriveOptions& options_;
  const Flag& stop_;
  const Flag never_;  // for waits that go on after `stop`
  uint64_t next_id_;
  Deadline end_ = Deadline::max();
  std::optional<Deadline> stopped_at_;
  Fd fd_;
  Framer framer_;
  std::deque<Outstanding> outstanding_;
  std::vector<char> burst_;
  DriveFacts facts_;
};

}  // namespace slogate::support
