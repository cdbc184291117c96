// SPDX-License-Identifier: Apache-2.0
#include "agent/http/http.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <thread>

#include "agent/host/addresses.h"
#include "agent/host/syscalls.h"
#include "agent/http/http_session.h"

namespace slogate {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Protocol = HttpSession::Protocol;

// At most so many new connections before those that are open get their turn again.
constexpr int kAcceptBatch = 16;

// When accept() fails for want of descriptors or memory, trying again at once would only spin.
constexpr std::chrono::milliseconds kAcceptPause{100};

// Accepts connections on one endpoint. Lives as long as it waits for one.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(asio::io_context& io, ListeningSocket socket, std::shared_ptr<HttpDesk> desk)
      : io_(io),
        socket_(std::move(socket)),
        desk_(std::move(desk)),
        ready_(io, socket_.fd.get()),
        pause_(io) {}
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { ready_.release(); }  // the descriptor is socket_'s to close

  void wait();

 private:
  void accept_batch();
  int accept_one();
  void serve(int fd);
  void retry_later(int error);

  asio::io_context& io_;
  ListeningSocket socket_;
  std::shared_ptr<HttpDesk> desk_;
  asio::posix::stream_descriptor ready_;
  asio::steady_timer pause_;
};

std::optional<Peer> read_peer(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
    return std::nullopt;
  ucred peer{};
  size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return Peer{peer.uid, peer.gid, peer.pid};
}

std::optional<slogate_address> read_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  return to_address(reinterpret_cast<const sockaddr*>(&address));
}

// For those who find no room: sent as far as the socket takes it at once.
void refuse(int fd) {
  const std::string body = error_response(503, "too many connections").body;
  const std::string answer = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      body.size(), body);
  (void)::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Listener::wait() {
  ready_.async_wait(asio::posix::descriptor_base::wait_read,
                    [self = shared_from_this()](error_code error) {
                      if (!error) self->accept_batch();
                    });
}

void Listener::accept_batch() {
  int error = 0;
  try {
    for (int i = 0; i < kAcceptBatch && error == 0; ++i) error = accept_one();
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  }
  if (error == 0 || error == EAGAIN)
    wait();
  else
    retry_later(error);
}

// 0, or the errno why there is nothing more to accept now.
int Listener::accept_one() {
  const int fd = ::accept4(socket_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    serve(fd);
    return 0;
  }
  return errno == ECONNABORTED || errno == EINTR ? 0 : errno;
}

void Listener::serve(int fd) {
  if (!desk_->make_room()) {
    refuse(fd);
    ::close(fd);
    return;
  }
  const HttpClient client{.peer = read_peer(fd), .address = read_address(fd)};
  Protocol::socket socket(io_);
  error_code error;
  if (socket.assign(Protocol(client.peer ? AF_UNIX : AF_INET, 0), fd, error)) {
    ::close(fd);
    return;
  }
  std::make_shared<HttpSession>(desk_, std::move(socket), client)->wait();
}

void Listener::retry_later(int error) {
  desk_->errors->write(system_error("http: cannot accept connections", error).line());
  pause_.expires_after(kAcceptPause);
  pause_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->wait();
  });
}

}  // namespace

// The loop and its thread. Pending operations own everything else: it goes when the loop goes.
class HttpServer::Impl {
 public:
  Impl(std::vector<HttpEndpoint> endpoints, HttpLog log, const HttpLimits& limits)
      : errors_(std::make_shared<HttpErrors>(std::move(log))) {
    for (HttpEndpoint& endpoint : endpoints) {
      auto desk =
          std::make_shared<HttpDesk>(HttpDesk{limits, std::move(endpoint.handler), errors_});
      std::make_shared<Listener>(io_, std::move(endpoint.socket), std::move(desk))->wait();
    }
    thread_ = std::jthread([this] { run(); });
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { io_.stop(); }

 private:
  void run();
  void run_until_error();

  std::shared_ptr<HttpErrors> errors_;
  asio::io_context io_{1};
  std::jthread thread_;  // last, so joined first
};

void HttpServer::Impl::run() {
  leave_signals_to_main();
  (void)pthread_setname_np(pthread_self(), "http");
  while (!io_.stopped()) run_until_error();
}

void HttpServer::Impl::run_until_error() {
  try {
    io_.run();
  } catch (const std::exception& exception) {
    // Want of memory, if anything: the session it happened in is gone, the others go on.
    errors_->write(fmt::format("http: {}", exception.what()));
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::HttpServer(HttpServer&&) noexcept = default;
HttpServer& HttpServer::operator=(HttpServer&&) noexcept = default;
HttpServer::~HttpServer() = default;

Result<HttpServer> HttpServer::start(std::vector<HttpEndpoint> endpoints, HttpLog log,
                                     const HttpLimits& limits) {
  try {
    return HttpServer(std::make_unique<Impl>(std::move(endpoints), std::move(log), limits));
  } catch (const std::exception& exception) {
    return fail(fmt::format("cannot start the HTTP server: {}", exception.what()));
  }
}

}  // namespace slogate
