// SPDX-License-Identifier: Apache-2.0
// The commands that answer: serve, and echo-handoff, where one process accepts for another.
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "tests/support/cgroup.h"
#include "tests/support/load/command.h"
#include "tests/support/load/server.h"
#include "tests/support/net.h"

namespace slogate::support {
namespace {

// Where and how to listen, and what to do then.
struct Setup {
  std::string host;
  uint16_t port = 0;
  bool ipv6 = false;
  int backlog = 1024;
  bool no_accept = false;
  Nanoseconds accept_delay{0};
  ServeOptions options;
  std::string answer = "send";
  size_t answer_size = kDefaultSize;
  std::string cgroup_accept, cgroup_answer;
  std::string pass = "connection";
};

void add_listening(CLI::App& app, Setup& setup) {
  app.add_option("--port", setup.port, "0 lets the kernel pick one")->required();
  app.add_option("--host", setup.host, "address to listen on; default 127.0.0.1 or ::1");
  app.add_flag("--ipv6", setup.ipv6, "listen on ::1");
  app.add_option("--backlog", setup.backlog, "of listen()")->check(CLI::Range(0, 4096));
  add_parsed(app, "--accept-delay", setup.accept_delay, parse_duration,
             "from a waiting connection to accept()");
}

void add_service(CLI::App& app, Setup& setup) {
  ServeOptions& options = setup.options;
  add_parsed(app, "--service", options.service, read_distribution,
             "constant:2ms, lognormal:MEDIAN_MS:SIGMA, list:FILE or steps:2ms*0.5,10ms*0.5");
  app.add_option("--seed", options.seed, "of all that is drawn");
  const auto add_change = [&app, &options](const char* name, auto parse, const char* help) {
    const auto add = [&options, parse](const std::string& text) {
      const auto change = parse(text);
      if (!change) throw CLI::ValidationError(change.error().line());
      options.changes.push_back(*change);
    };
    app.add_option_function<std::string>(name, add, help);
  };
  add_change("--slow-after", parse_slow_after, "SECONDS:FACTOR");
  const auto slow_at = [](std::string_view text) {
    return parse_slow_at(text, std::chrono::system_clock::now().time_since_epoch());
  };
  add_change("--slow-at", slow_at, "UNIX-SECONDS:FACTOR");
  add_change("--tail-after", parse_tail_after, "SECONDS:SHARE:FACTOR");
  add_parsed(app, "--read-delay", options.read_delay, parse_duration,
             "from readable to the first recv(); part of the service time");
  app.add_flag("--kernel-stamp", options.kernel_stamp,
               "count from the kernel's receive time stamp instead of from the wake-up");
}

void add_answering(CLI::App& app, Setup& setup) {
  ServeOptions& options = setup.options;
  app.add_option("--answer", setup.answer,
                 "send, writes:N, sendfile:SIZE, writev, splice, zerocopy or uring");
  app.add_option("--answer-size", setup.answer_size, "bytes, the 16 of the header included");
  app.add_option("--error-share", options.error_share, "of the requests are reset instead")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--hang-after", options.hang_after, "requests of all; none is answered then");
  app.add_option("--reset-after", options.reset_after,
                 "requests of each connection; the next one is reset");
  app.add_flag("--close-without-answer", options.close_without_answer,
               "closes at the first request");
}

// What the single options cannot say alone.
Result<void> complete(Setup& setup) {
  const auto plan = parse_answer(setup.answer, setup.answer_size);
  if (!plan) return fail(plan.error());
  setup.options.answer = *plan;
  if (setup.host.empty()) setup.host = setup.ipv6 ? "::1" : "127.0.0.1";
  return {};
}

Result<Fd> open_listener(const Setup& setup) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  auto listener = listen_on(*address, setup.backlog);
  if (!listener)
    return fail(listener.error().within(fmt::format("{} port {}", setup.host, setup.port)));
  // An accepted socket inherits it, and so has a stamp on data that came before accept().
  if (setup.options.kernel_stamp) set_option(listener->get(), SOL_SOCKET, SO_TIMESTAMPNS, 1);
  return listener;
}

Result<void> serve(const Setup& setup, Run& run) {
  auto listener = open_listener(setup);
  if (!listener) return fail(listener.error());
  Server server(setup.options, run.stop);
  Tally accept_errors;
  std::jthread acceptor;
  if (!setup.no_accept)
    acceptor = std::jthread(
        [&] { accept_errors = accept_all(listener->get(), setup.accept_delay, server, run.stop); });
  Run::say(fmt::format("ready {}", read_port(listener->get())));
  const Ended ended = run.wait();
  if (acceptor.joinable()) acceptor.join();
  auto facts = to_json(server.finish());
  facts["accept_errors"] = accept_errors;
  run.report("serve", ended, facts);
  return {};
}

// Passes a copy of `fd` to the other end of a socket pair, with one byte that says what it is.
bool send_fd(int pair, int fd, char what) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = &what, .iov_len = 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return ::sendmsg(pair, &message, MSG_NOSIGNAL) == 1;
}

// An invalid Fd when the other end has been closed.
Fd receive_fd(int pair, char& what) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = &what, .iov_len = 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(pair, &message, MSG_CMSG_CLOEXEC) != 1) return {};
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

constexpr char kListener = 'l', kConnection = 'c';

// The process that answers: until its parent closes the pair, whatever signals the group gets.
int answer_for_parent(const Setup& setup, Run& run, int pair, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) return 1;
  if (!setup.cgroup_answer.empty()) {
    const auto entered = enter_cgroup(setup.cgroup_answer, 0);
    if (!entered) return fmt::print(stderr, "slogate-load: {}\n", entered.error().line()), 1;
  }
  Server server(setup.options, run.stop);
  std::jthread acceptor;
  Fd listener;
  Tally accept_errors;
  if (::send(pair, "r", 1, MSG_NOSIGNAL) != 1) return 1;
  char what = 0;
  for (Fd fd; (fd = receive_fd(pair, what)).valid();) {
    if (what == kConnection) {
      server.take(std::move(fd));
    } else {
      listener = std::move(fd);
      acceptor = std::jthread([&] {
        accept_errors = accept_all(listener.get(), setup.accept_delay, server, run.stop);
      });
    }
  }
  run.stop.raise();
  if (acceptor.joinable()) acceptor.join();
  auto facts = to_json(server.finish());
  facts["accept_errors"] = accept_errors;
  run.report("echo-handoff", what == 's' ? Ended::kSignal : Ended::kMaxSeconds, facts);
  return 0;
}

// The process that listens: passes every connection on, or the listener itself once.
void pass_on(const Setup& setup, int listener, int pair, const Flag& stop) {
  if (setup.pass == "listener") {
    send_fd(pair, listener, kListener);
    return;
  }
  while (!stop.raised()) {
    if (wait_for(listener, POLLIN, within(std::chrono::seconds(60)), stop) == 0) continue;
    if (setup.accept_delay.count() > 0 && !sleep_until_exactly(within(setup.accept_delay), stop))
      break;
    const Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd && !send_fd(pair, fd.get(), kConnection)) break;
  }
}

Result<void> listen_for_child(const Setup& setup, Run& run, int pair) {
  if (!setup.cgroup_accept.empty())
    if (const auto entered = enter_cgroup(setup.cgroup_accept, 0); !entered)
      return fail(entered.error());
  auto listener = open_listener(setup);
  if (!listener) return fail(listener.error());
  char begun = 0;
  if (::recv(pair, &begun, 1, 0) != 1) return fail("the answering process did not start");
  std::jthread passing([&] { pass_on(setup, listener->get(), pair, run.stop); });
  Run::say(fmt::format("ready {}", read_port(listener->get())));
  const Ended ended = run.wait();
  passing.join();
  const char reason = ended == Ended::kSignal ? 's' : 'm';
  (void)::send(pair, &reason, 1, MSG_NOSIGNAL);
  return {};
}

Result<void> hand_off(const Setup& setup, Run& run) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail(system_error("socketpair", errno));
  Fd ours(ends[0]), theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error("fork", errno));
  if (child == 0) {
    ours.reset();
    ::_exit(answer_for_parent(setup, run, theirs.get(), parent));
  }
  theirs.reset();
  auto done = listen_for_child(setup, run, ours.get());
  ours.reset();
  int status = 0;
  ::waitpid(child, &status, 0);
  if (done && status != 0) return fail("the answering process failed");
  return done;
}

template <typename Function>
void choose(CLI::App& app, std::shared_ptr<Setup> setup, Command& chosen, Function function) {
  app.callback([setup, &chosen, function] {
    if (const auto completed = complete(*setup); !completed)
      throw CLI::ValidationError(completed.error().line());
    chosen = [setup, function](Run& run) { return function(*setup, run); };
  });
}

}  // namespace

void add_serve(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<Setup>();
  CLI::App* command = app.add_subcommand("serve", "answer requests");
  add_listening(*command, *setup);
  command->add_flag("--no-accept", setup->no_accept, "only listen");
  add_service(*command, *setup);
  add_answering(*command, *setup);
  choose(*command, setup, chosen, serve);
}

void add_handoff(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<Setup>();
  CLI::App* command =
      app.add_subcommand("echo-handoff", "one process listens, another one answers");
  add_listening(*command, *setup);
  command->add_option("--cgroup-accept", setup->cgroup_accept,
                      "directory of the cgroup that listens and accepts");
  command->add_option("--cgroup-answer", setup->cgroup_answer,
                      "directory of the cgroup that answers");
  command->add_option("--pass", setup->pass, "what is passed: each connection or the listener")
      ->check(CLI::IsMember({"connection", "listener"}));
  add_service(*command, *setup);
  add_answering(*command, *setup);
  choose(*command, setup, chosen, hand_off);
}

}  // namespace slogate::support
