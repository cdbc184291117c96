// SPDX-License-Identifier: Apache-2.0
// The commands that ask: drive, connect and idle.
#include <poll.h>

#include <algorithm>
#include <deque>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/load/command.h"
#include "tests/support/load/driver.h"
#include "tests/support/net.h"

namespace slogate::support {
namespace {

// What all three have in common.
struct Target {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  unsigned count = 1;
};

void add_target(CLI::App& app, Target& target) {
  app.add_option("--host", target.host, "IPv4 or IPv6 address")->capture_default_str();
  app.add_option("--port", target.port)->required()->check(CLI::Range(1, 65535));
}

struct DriveSetup : Target {
  DriveOptions options;
  bool start_on_signal = false;
};

// Every connection has its share of the requests, the first ones one more.
std::vector<DriveOptions> to_shares(const DriveSetup& setup) {
  std::vector<DriveOptions> shares(setup.count, setup.options);
  if (!setup.options.requests) return shares;
  for (unsigned i = 0; i < setup.count; ++i) {
    const uint64_t all = *setup.options.requests;
    shares[i].requests = all / setup.count + (i < all % setup.count ? 1 : 0);
  }
  return shares;
}

Result<void> check(const DriveSetup& setup) {
  const DriveOptions& options = setup.options;
  if (options.requests.has_value() == options.duration.has_value())
    return fail("give either --requests or --duration");
  if (options.rate > 0 && options.connect_per_request)
    return fail(
        "--rate keeps its connections: it goes with neither --connect-per-request nor "
        "--half-close");
  if (options.segments > 1 && options.pipeline > 1)
    return fail("--segments cuts one request: it does not go with --pipeline");
  if (options.segments > options.request_size) return fail("a segment has at least one byte");
  return {};
}

Result<void> drive(DriveSetup& setup, Run& run) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  setup.options.address = *address;
  const std::vector<DriveOptions> shares = to_shares(setup);

  std::deque<Driver> drivers;
  for (unsigned i = 0; i < setup.count; ++i) drivers.emplace_back(shares[i], i, run.stop);
  std::latch connected(setup.count), finished(setup.count);
  std::vector<std::jthread> threads;
  for (Driver& driver : drivers)
    threads.emplace_back([&] {
      driver.connect();
      connected.count_down();
      if (wait_for(run.start.fd(), POLLIN, Deadline::max(), run.stop) != 0) driver.run();
      finished.count_down();
    });
  threads.emplace_back([&] {
    connected.wait();
    Run::say("ready");
    if (!setup.start_on_signal) run.start.raise();
    finished.wait();
    run.stop.raise();
  });
  const Ended ended = run.wait();
  threads.clear();
  DriveFacts sum;
  for (const Driver& driver : drivers) add_facts(sum, driver.facts());
  run.report("drive", ended, to_json(sum));
  return {};
}

void add_pace(CLI::App& app, DriveSetup& setup) {
  DriveOptions& options = setup.options;
  app.add_option("--connections", setup.count)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--requests", options.requests, "of all connections together")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}));
  add_parsed(app, "--duration", options.duration, parse_duration, "how long to send");
  app.add_option("--rate", options.rate, "bursts per second and connection, whatever the answers")
      ->check(CLI::Range(0.0, 1e6));
  add_parsed(app, "--think", options.think, parse_duration, "from an answer to the next request");
  add_parsed(app, "--answer-timeout", options.answer_timeout, parse_duration,
             "a request without an answer by then ends its connection; default 10s");
  app.add_flag("--start-on-signal", setup.start_on_signal,
               "connect and say ready, but send from SIGUSR1 on");
}

void add_shape(CLI::App& app, DriveOptions& options) {
  app.add_option("--request-size", options.request_size, "bytes, the 16 of the header included")
      ->check(CLI::Range(kHeaderSize, kLargestSize))
      ->capture_default_str();
  const auto set_segments = [&options](const std::string& text) {
    const size_t colon = std::min(text.find(':'), text.size());
    const auto number = parse_number(std::string_view(text).substr(0, colon), 1, 1e6);
    const auto gap =
        parse_duration(std::string_view(text).substr(std::min(colon + 1, text.size())));
    if (!number || !gap) throw CLI::ValidationError("--segments takes N:GAP, as in 3:10ms");
    options.segments = static_cast<unsigned>(*number);
    options.gap = *gap;
  };
  app.add_option_function<std::string>("--segments", set_segments,
                                       "N:GAP: send each request in N pieces");
  app.add_option("--pipeline", options.pipeline, "requests sent at once")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_flag("--connect-per-request", options.connect_per_request, "one connection for each");
  app.add_flag("--half-close", options.half_close,
               "a connection for each, and FIN in the request's last segment");
}

struct ConnectSetup : Target {
  Nanoseconds timeout = std::chrono::seconds(5);
  int syn_retries = 0;
};

Result<void> connect(const ConnectSetup& setup, Run& run) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  Tally outcomes;
  uint64_t attempted = 0;
  Latencies latency;
  std::jthread work([&] {
    for (; attempted < setup.count && !run.stop.raised(); ++attempted) {
      const Clock::time_point begin = Clock::now();
      const Connected made = connect_to(*address, setup.timeout, setup.syn_retries, run.stop);
      if (made.fd) latency.add(Clock::now() - begin);
      ++outcomes[made.fd ? "connected" : made.gave_up ? "gave_up" : to_errno_name(made.error)];
    }
    run.stop.raise();
  });
  Run::say("ready");
  const Ended ended = run.wait();
  work.join();
  run.report("connect", ended,
             {{"attempted", attempted}, {"outcomes", outcomes}, {"latency", latency.to_json()}});
  return {};
}

// How many of the connections the other side has ended.
uint64_t count_closed(const std::vector<Fd>& connections) {
  return static_cast<uint64_t>(std::ranges::count_if(connections, [](const Fd& fd) {
    pollfd one{.fd = fd.get(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&one, 1, 0) > 0;
  }));
}

Result<void> idle(const ConnectSetup& setup, Run& run) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  std::vector<Fd> connections;
  Tally errors;
  std::jthread work([&] {
    for (unsigned i = 0; i < setup.count && !run.stop.raised(); ++i) {
      Connected made = connect_to(*address, setup.timeout, setup.syn_retries, run.stop);
      if (made.fd)
        connections.push_back(std::move(made.fd));
      else
        ++errors[made.gave_up ? "gave_up" : to_errno_name(made.error)];
    }
    Run::say(fmt::format("ready {}", connections.size()));
  });
  const Ended ended = run.wait();
  work.join();
  run.report("idle", ended,
             {{"connected", connections.size()},
              {"connect_errors", errors},
              {"closed_by_peer", count_closed(connections)}});
  return {};
}

}  // namespace

void add_drive(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<DriveSetup>();
  CLI::App* command = app.add_subcommand("drive", "send requests and wait for their answers");
  add_target(*command, *setup);
  add_pace(*command, *setup);
  add_shape(*command, setup->options);
  command->callback([setup, &chosen] {
    if (setup->options.half_close) setup->options.connect_per_request = true;
    if (const auto good = check(*setup); !good) throw CLI::ValidationError(good.error().line());
    chosen = [setup](Run& run) { return drive(*setup, run); };
  });
}

void add_connect(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<ConnectSetup>();
  CLI::App* command = app.add_subcommand("connect", "connect and close, one after the other");
  add_target(*command, *setup);
  command->add_option("--count", setup->count)->check(CLI::Range(1, 1'000'000));
  add_parsed(*command, "--timeout", setup->timeout, parse_duration,
             "gives up on a connection then; default 5s");
  command
      ->add_option("--syn-retries", setup->syn_retries,
                   "the kernel's own; 1 times out after about 3 s")
      ->check(CLI::Range(1, 10));
  command->callback(
      [setup, &chosen] { chosen = [setup](Run& run) { return connect(*setup, run); }; });
}

void add_idle(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<ConnectSetup>();
  CLI::App* command = app.add_subcommand("idle", "open connections and hold them until SIGTERM");
  add_target(*command, *setup);
  command->add_option("--count", setup->count)->check(CLI::Range(1, 25'000));
  command->callback([setup, &chosen] { chosen = [setup](Run& run) { return idle(*setup, run); }; });
}

}  // namespace slogate::support
