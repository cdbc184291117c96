// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/peers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <thread>

#include "agent/base/latest.h"
#include "agent/base/log.h"
#include "agent/host/syscalls.h"
#include "agent/http/listen.h"
#include "agent/peers/connection.h"

namespace slogate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using boost::system::error_code;
using Time = std::chrono::nanoseconds;

// Those who have not shown who they are yet; a newcomer takes the place of the one that has said
// nothing for longest, else of the one that has taken longest to say it: who is quick gets in
// whatever others do.
constexpr size_t kMostStrangers = 64;
// Those who have. With eight lenders for each SLO a lender has as many askers as there are nodes
// with canaries at the most.
constexpr size_t kMostAskers = 256;
// Connections that are taken a second, and at once; and handshakes, which cost up to a millisecond
// of CPU each, and whoever can reach the port may begin one. The rest waits in the kernel.
constexpr double kAcceptsPerSecond = 250, kAcceptsAtOnce = 64;
constexpr double kHandshakesPerSecond = 25, kHandshakesAtOnce = 64;
constexpr Time kStatusInterval = 1s;
// What waits for a thread that does not come: readings of a quarter of a minute, and answers.
constexpr size_t kMostLendable = kKeptReadings, kMostLent = 16384;

Time monotonic() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

std::string random_bytes(size_t size) {
  std::string bytes(size, '\0');
  size_t got = 0;
  while (got < size) {
    const ssize_t more = ::getrandom(bytes.data() + got, size - got, 0);
    if (more > 0) got += static_cast<size_t>(more);
  }
  return bytes;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  std::memcpy(&seed, random_bytes(sizeof seed).data(), sizeof seed);
  return seed;
}

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

// A socket that is being connected.
Result<Fd> begin_connect(const std::string& text) {
  const auto parsed = parse_address(text);
  if (!parsed) return fail(parsed.error());
  Address address{};
  const bool v6 = parsed->host.contains(':');
  socklen_t size = v6 ? sizeof address.v6 : sizeof address.v4;
  if (v6) {
    address.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(parsed->port)};
    (void)::inet_pton(AF_INET6, parsed->host.c_str(), &address.v6.sin6_addr);
  } else {
    address.v4 = {.sin_family = AF_INET, .sin_port = htons(parsed->port)};
    (void)::inet_pton(AF_INET, parsed->host.c_str(), &address.v4.sin_addr);
  }
  Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(system_error("cannot create a socket", errno));
  const int on = 1;
  (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), &address.any, size) != 0 && errno != EINPROGRESS)
    return fail(system_error("cannot connect", errno));
  return fd;
}

}  // namespace

// Through which others come back into the loop, from any thread and perhaps after it is gone.
class Door {
 public:
  explicit Door(asio::io_context& io) : io_(&io) {}
  void post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    if (io_ != nullptr) asio::post(*io_, std::move(work));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    io_ = nullptr;
  }

 private:
  std::mutex mutex_;
  asio::io_context* io_;
};

// The loop, its thread, and what both sides share. The tick's thread touches the trays and what has
// a lock of its own, nothing else.
class Peers::Impl {
 public:
  Impl(PeersOptions options, TlsKeys keys, ListeningSocket listening)
      : options_(std::move(options)),
        keys_(std::move(keys)),
        instance_(random_bytes(kInstanceBytes)),
        listening_(std::move(listening)),
        ready_(io_),
        timer_(io_),
        asker_(random_seed()) {
    if (listening_.fd) ready_.assign(listening_.fd.get());
    publish_status(Time{0});
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    door_->close();
    io_.stop();
    if (thread_.joinable()) thread_.join();
    if (listening_.fd) ready_.release();  // the descriptor is listening_'s to close
  }

  void start() {
    accept_when_ready();
    tend_later(0ms);
    thread_ = std::jthread([this] { run(); });
  }

  // What the tick's thread leaves for this one, and the other way round.
  Tray<Lendable> lendable{kMostLendable};
  Latest<Wanted> wanted;
  Tray<Lent> lent{kMostLent};
  Latest<PeersStatus> status;

  void set_peers(std::vector<Candidate> peers, size_t lenders) {
    asio::post(io_, [this, peers = std::move(peers), lenders]() mutable {
      asker_.set_lenders(lenders);
      asker_.set_peers(std::move(peers), monotonic());
    });
  }
  void set_candidates(std::map<std::string, Candidates> by_slo) {
    asio::post(io_, [this, by_slo = std::move(by_slo)]() mutable {
      asker_.set_candidates(std::move(by_slo), monotonic());
    });
  }
  [[nodiscard]] uint16_t port() const { return listening_.fd ? listening_.local_port() : 0; }

 private:
  // Who asks us.
  struct Incoming {
    std::shared_ptr<Connection> connection;
    bool said_hello = false;
    std::string refusal;  // why it was turned away
  };
  // Whom we ask.
  struct Outgoing {
    std::shared_ptr<Connection> connection;
    std::optional<Dictionary> dictionary;
    uint64_t id = 0;  // another one for each connection to the same address
  };

  void run();
  void tend();
  void tend_later(std::chrono::milliseconds after);
  void tend_asker(Time now);
  void publish_status(Time now);

  void accept_when_ready();
  void accept_batch();
  int accept_one();
  void welcome(Fd socket);
  bool admits_handshake();
  void make_room();
  Result<void> on_asker_frame(uint64_t id, const Frame& frame);
  Result<void> on_asker_hello(Incoming& from, uint64_t id, std::string_view fields);
  void admit(uint64_t id, const Result<void>& checked);
  void turn_away(Incoming& from, const std::string& reason);

  void connect(const std::string& address);
  void on_lender_opened(const std::string& address);
  Result<void> on_lender_frame(const std::string& address, const Frame& frame);
  Result<void> on_lender_hello(const std::string& address, Outgoing& to, std::string_view fields);
  void on_lender_closed(const std::string& address, uint64_t id, const std::string& why);
  void forget_bytes(const Connection& connection);

  PeersOptions options_;
  TlsKeys keys_;
  const std::string instance_;
  asio::io_context io_{1};
  const std::shared_ptr<Door> door_ = std::make_shared<Door>(io_);
  ListeningSocket listening_;
  asio::posix::stream_descriptor ready_;
  asio::steady_timer timer_;
  LentBook book_;
  Asker asker_;
  std::map<uint64_t, Incoming> incoming_;  // by a number that rises: the oldest first
  uint64_t last_incoming_ = 0, last_outgoing_ = 0;
  std::map<std::string, Outgoing> outgoing_;  // by address
  double accepts_left_ = kAcceptsAtOnce, handshakes_left_ = kHandshakesAtOnce;
  bool accepting_ = false;
  Time tended_{0}, next_status_{0}, next_step_{0};
  uint64_t turned_away_ = 0, closed_in_ = 0, closed_out_ = 0;
  std::string last_refusal_;
  std::jthread thread_;  // last, so joined first
};

void Peers::Impl::run() {
  leave_signals_to_main();
  (void)pthread_setname_np(pthread_self(), "peers");
  while (!io_.stopped()) try {
      io_.run();
    } catch (const std::exception& exception) {
      // Want of memory, if anything; what it happened to is closed when it is late.
      log_change("peers", exception.what());
    }
}

void Peers::Impl::tend_later(std::chrono::milliseconds after) {
  timer_.expires_after(after);
  timer_.async_wait([this](error_code error) {
    if (!error) tend();
  });
}

void Peers::Impl::tend() {
  const Time now = monotonic();
  for (Lendable& one : lendable.take()) book_.add(std::move(one), now);
  const double passed = std::chrono::duration<double>(now - tended_).count();
  accepts_left_ = std::min(kAcceptsAtOnce, accepts_left_ + kAcceptsPerSecond * passed);
  handshakes_left_ = std::min(kHandshakesAtOnce, handshakes_left_ + kHandshakesPerSecond * passed);
  tended_ = now;
  for (auto& [id, from] : incoming_) from.connection->look(now);
  for (auto& [address, to] : outgoing_) to.connection->look(now);
  accept_when_ready();
  if (now >= next_step_) tend_asker(now);
  if (now >= next_status_) publish_status(now);
  // Who has nobody to talk to looks less often.
  const auto questions = wanted.load();
  const bool idle = incoming_.empty() && outgoing_.empty() && (!questions || questions->empty());
  tend_later(idle ? std::chrono::milliseconds{1000} : Connection::kLookInterval);
}

void Peers::Impl::tend_asker(Time now) {
  // With every second look, even where one comes a little early.
  next_step_ = now + Asker::kAskInterval - Connection::kLookInterval / 4;
  // What nobody takes would be lost one by one: then nothing more is asked.
  if (lent.is_full()) return;
  if (const auto questions = wanted.load())
    asker_.want(questions->baselines, questions->rollouts, now);
  const Asker::Work work = asker_.step(now);
  for (const std::string& address : work.disconnect)
    if (const auto to = outgoing_.find(address); to != outgoing_.end()) {
      forget_bytes(*to->second.connection);
      to->second.connection->close();
      outgoing_.erase(to);
    }
  for (const std::string& address : work.connect) connect(address);
  for (const auto& [address, asks] : work.asks) {
    const auto to = outgoing_.find(address);
    if (to == outgoing_.end()) continue;
    std::string frames;
    for (const Ask& ask : asks) frames += write_ask(ask);
    to->second.connection->send(frames);
    to->second.connection->flush();
  }
  for (Lent& one : asker_.take()) lent.put(std::move(one));
}

void Peers::Impl::publish_status(Time now) {
  next_status_ = now + kStatusInterval;
  PeersStatus made{.listens = listening_.fd.valid(),
                   .turned_away = turned_away_,
                   .last_refusal = last_refusal_,
                   .bytes_in = closed_in_,
                   .bytes_out = closed_out_,
                   .peers = asker_.status(now)};
  const auto add = [&made](const Connection& connection) {
    made.bytes_in += connection.bytes_in();
    made.bytes_out += connection.bytes_out();
  };
  for (const auto& [id, from] : incoming_) {
    add(*from.connection);
    made.askers += from.connection->is_trusted() ? 1 : 0;
  }
  for (const auto& [address, to] : outgoing_) add(*to.connection);
  for (PeerStatus& peer : made.peers)
    if (const auto to = outgoing_.find(peer.address); to != outgoing_.end()) {
      peer.bytes_in = to->second.connection->bytes_in();
      peer.bytes_out = to->second.connection->bytes_out();
    }
  status.store(std::make_shared<const PeersStatus>(std::move(made)));
}

void Peers::Impl::forget_bytes(const Connection& connection) {
  closed_in_ += connection.bytes_in();
  closed_out_ += connection.bytes_out();
}

// ---- who asks ----

void Peers::Impl::accept_when_ready() {
  if (!listening_.fd || accepts_left_ < 1 || std::exchange(accepting_, true)) return;
  ready_.async_wait(asio::posix::descriptor_base::wait_read, [this](error_code error) {
    accepting_ = false;
    if (!error) accept_batch();
  });
}

void Peers::Impl::accept_batch() {
  int error = 0;
  while (error == 0 && accepts_left_ >= 1) error = accept_one();
  // Want of descriptors or memory is over later, if at all: tend() tries again.
  if (error == 0 || error == EAGAIN) return accept_when_ready();
  log_change("peers", system_error("cannot accept connections", error).line());
  accepts_left_ = 0;
}

// 0, or the errno why there is nothing more to accept now.
int Peers::Impl::accept_one() {
  Fd fd(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return errno == ECONNABORTED || errno == EINTR ? 0 : errno;
  accepts_left_ -= 1;
  make_room();
  welcome(std::move(fd));
  return 0;
}

void Peers::Impl::make_room() {
  const auto stranger = [](const auto& entry) { return !entry.second.connection->is_trusted(); };
  if (static_cast<size_t>(std::ranges::count_if(incoming_, stranger)) < kMostStrangers) return;
  const auto silent = std::ranges::find_if(incoming_, [&](const auto& entry) {
    return stranger(entry) && !entry.second.connection->has_spoken();
  });
  const auto oldest =
      silent != incoming_.end() ? silent : std::ranges::find_if(incoming_, stranger);
  ++turned_away_;
  last_refusal_ = "there were too many that did not say who they are";
  forget_bytes(*oldest->second.connection);
  oldest->second.connection->close();
  incoming_.erase(oldest);
}

void Peers::Impl::welcome(Fd socket) {
  const uint64_t id = ++last_incoming_;
  const auto closed = [this, id](const std::string& why) {
    const auto from = incoming_.find(id);
    if (from == incoming_.end()) return;
    if (!from->second.connection->is_trusted()) {
      ++turned_away_;
      last_refusal_ = from->second.refusal.empty() ? why : from->second.refusal;
    }
    forget_bytes(*from->second.connection);
    incoming_.erase(from);
  };
  auto connection = std::make_shared<Connection>(
      io_, std::move(socket), keys_, TlsStream::Side::Lender,
      Connection::Handlers{
          .admits = [this] { return admits_handshake(); },
          .opened = [] {},
          .frame = [this, id](const Frame& frame) { return on_asker_frame(id, frame); },
          .closed = closed},
      monotonic());
  connection->start();
  incoming_[id].connection = std::move(connection);
}

bool Peers::Impl::admits_handshake() {
  if (handshakes_left_ < 1) return false;
  handshakes_left_ -= 1;
  return true;
}

Result<void> Peers::Impl::on_asker_frame(uint64_t id, const Frame& frame) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return fail("it is gone");
  Incoming& from = found->second;
  if (!from.refusal.empty()) return fail(from.refusal);
  if (!from.connection->is_trusted()) {
    if (frame.type != static_cast<uint8_t>(FrameType::Hello) ||
        std::exchange(from.said_hello, true))
      return fail("it did not begin with a hello");
    return on_asker_hello(from, id, frame.fields);
  }
  if (frame.type != static_cast<uint8_t>(FrameType::Ask)) return {};  // of a later version
  const auto ask = read_ask(frame.fields);
  if (!ask) return fail(ask.error());
  // What the tick left since the last look, or an answer would be a quarter of a second old.
  for (Lendable& one : lendable.take()) book_.add(std::move(one), monotonic());
  from.connection->send(book_.answer(*ask));
  return {};
}

Result<void> Peers::Impl::on_asker_hello(Incoming& from, uint64_t id, std::string_view fields) {
  const auto hello = read_hello(fields);
  if (!hello) return fail(hello.error());
  if (const auto version = common_version(own_hello(instance_, ""), *hello); !version) {
    turn_away(from, version.error().line());
    return {};
  }
  if (!options_.check_token) {
    admit(id, {});
    return {};
  }
  if (hello->token.empty()) {
    turn_away(from, "it shows no token");
    return {};
  }
  options_.check_token(hello->token, [this, id, door = door_](Result<void> checked) {
    door->post([this, id, checked = std::move(checked)] { admit(id, checked); });
  });
  return {};
}

void Peers::Impl::admit(uint64_t id, const Result<void>& checked) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  Incoming& from = found->second;
  const auto askers = std::ranges::count_if(
      incoming_, [](const auto& entry) { return entry.second.connection->is_trusted(); });
  if (!checked) return turn_away(from, "its token is not accepted: " + checked.error().line());
  if (static_cast<size_t>(askers) >= kMostAskers)
    return turn_away(from, "there are too many askers");
  from.connection->trust(kMaxAskBytes);
  from.connection->send(write_hello(own_hello(instance_, "")));
  from.connection->flush();
}

// It is told why, and closed when it has hung up or is late.
void Peers::Impl::turn_away(Incoming& from, const std::string& reason) {
  from.refusal = reason;
  from.connection->send(write_refusal(reason));
  from.connection->flush();
}

// ---- whom we ask ----

void Peers::Impl::connect(const std::string& address) {
  auto socket = begin_connect(address);
  if (!socket) return asker_.closed(address, socket.error().message, monotonic());
  Outgoing& to = outgoing_[address];
  to.id = ++last_outgoing_;
  to.connection = std::make_shared<Connection>(
      io_, std::move(*socket), keys_, TlsStream::Side::Asker,
      Connection::Handlers{
          .admits = {},
          .opened = [this, address] { on_lender_opened(address); },
          .frame = [this, address](const Frame& frame) { return on_lender_frame(address, frame); },
          .closed = [this, address,
                     id = to.id](const std::string& why) { on_lender_closed(address, id, why); }},
      monotonic());
  to.connection->start();
}

void Peers::Impl::on_lender_opened(const std::string& address) {
  Outgoing& to = outgoing_.at(address);
  to.connection->send(
      write_hello(own_hello(instance_, options_.own_token ? options_.own_token() : "")));
}

Result<void> Peers::Impl::on_lender_frame(const std::string& address, const Frame& frame) {
  Outgoing& to = outgoing_.at(address);
  switch (static_cast<FrameType>(frame.type)) {
    case FrameType::Refusal:
      return fail("it refuses: " + read_refusal(frame.fields));
    case FrameType::Hello:
      return on_lender_hello(address, to, frame.fields);
    case FrameType::Answer:
      break;
    default:
      return {};  // of a later version
  }
  if (!to.dictionary) return fail("it did not begin with a hello");
  auto answer = read_answer(frame.fields, *to.dictionary);
  if (!answer) return fail(answer.error().within("what it sent is no answer"));
  auto taken = asker_.answered(address, std::move(*answer), monotonic());
  for (Lent& one : asker_.take()) lent.put(std::move(one));
  return taken;
}

Result<void> Peers::Impl::on_lender_hello(const std::string& address, Outgoing& to,
                                          std::string_view fields) {
  if (to.dictionary) return fail("it says hello twice");
  const Hello ours = own_hello(instance_, "");
  const auto theirs = read_hello(fields);
  if (!theirs) return fail(theirs.error());
  if (const auto version = common_version(ours, *theirs); !version)
    return fail(version.error().line());
  if (theirs->instance == instance_) return fail("self");
  auto dictionary = Dictionary::make(ours, *theirs);
  if (!dictionary) return fail(dictionary.error().line());
  to.dictionary = std::move(*dictionary);
  to.connection->trust(kMaxAnswerBytes);
  asker_.opened(address, monotonic());
  return {};
}

void Peers::Impl::on_lender_closed(const std::string& address, uint64_t id,
                                   const std::string& why) {
  const auto to = outgoing_.find(address);
  if (to == outgoing_.end() || to->second.id != id) return;
  forget_bytes(*to->second.connection);
  outgoing_.erase(to);
  if (why == "self")
    asker_.is_self(address, monotonic());
  else
    asker_.closed(address, why, monotonic());
}

// ---- outside ----

Peers::Peers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Peers::~Peers() = default;

Result<std::unique_ptr<Peers>> Peers::make(PeersOptions options) {
  auto keys = TlsKeys::read(options.security, options.check_token != nullptr);
  if (!keys) return fail(keys.error().within("peers"));
  ListeningSocket listening;
  if (options.listen) {
    auto bound = listen_tcp(options.listen->host, options.listen->port);
    if (!bound) return fail(bound.error().within("peer_listen"));
    listening = std::move(*bound);
  }
  return std::unique_ptr<Peers>(new Peers(
      std::make_unique<Impl>(std::move(options), std::move(*keys), std::move(listening))));
}

void Peers::start() {
  impl_->start();
}
void Peers::lend(Lendable lendable) {
  impl_->lendable.put(std::move(lendable));
}
void Peers::want(Wanted wanted) {
  impl_->wanted.store(std::make_shared<const Wanted>(std::move(wanted)));
}
std::vector<Lent> Peers::take() {
  auto all = impl_->lent.take();
  return {std::make_move_iterator(all.begin()), std::make_move_iterator(all.end())};
}
void Peers::set_peers(std::vector<Candidate> peers, size_t lenders) {
  impl_->set_peers(std::move(peers), lenders);
}
void Peers::set_candidates(std::map<std::string, Candidates> by_slo) {
  impl_->set_candidates(std::move(by_slo));
}
std::shared_ptr<const PeersStatus> Peers::status() const {
  return impl_->status.load();
}
uint16_t Peers::port() const {
  return impl_->port();
}

}  // namespace slogate
