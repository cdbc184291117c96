// SPDX-License-Identifier: Apache-2.0
// One connection of the HTTP server; internal to it.
#pragma once

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "agent/http/http.h"

namespace slogate {

class HttpSession;

// Passes a line on, but not twice in a row: a client that provokes an error must not fill the log.
class HttpErrors {
 public:
  explicit HttpErrors(HttpLog log) : log_(std::move(log)) {}
  void write(const std::string& line);

 private:
  HttpLog log_;
  std::string last_;
};

// Who is at the other end: of a Unix socket a process, of TCP an address.
struct HttpClient {
  std::optional<Peer> peer;
  std::optional<slogate_address> address;
};

// What a session waits for, in the order in which they give way to newcomers: the next request, the
// rest of one, a client that reads its answer. One that follows does not give way.
enum class HttpStage { Idle, Reading, Writing };

// What the sessions of one endpoint share. All of them run on one thread.
struct HttpDesk {
  HttpLimits limits;
  HttpHandler handler;
  std::shared_ptr<HttpErrors> errors;

  // Books, kept by the sessions.
  std::array<std::list<HttpSession*>, 3> stages = {};  // by HttpStage, each longest first
  size_t open = 0;
  size_t followers = 0;
  size_t unsent_bytes = 0;

  // The handler's answer, or 503 when it throws.
  HttpResponse answer(const HttpRequest& request);

  // Whether there is room for one more session, after closing the first that gives way if that is
  // what it takes.
  bool make_room();
};

// One connection. Lives as long as an operation on it is pending; the stream ends an operation that
// takes too long by closing the socket.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  using Protocol = boost::asio::generic::stream_protocol;  // Unix and TCP sockets alike

  HttpSession(std::shared_ptr<HttpDesk> desk, Protocol::socket socket, HttpClient client);
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;
  ~HttpSession() { leave(); }

  // Waits for the next request, as long as an idle client may.
  void wait();

  // Whether it stands as idle and has input of which nothing has been read yet.
  [[nodiscard]] bool is_about_to_read();

  // Ends the session from outside.
  void close();

 private:
  using Body = boost::beast::http::string_body;
  using Parser = boost::beast::http::request_parser<Body>;

  void end_when_idle();
  void read();
  void respond();
  void respond_to_garbage(boost::system::error_code error);
  void send(HttpResponse answer, bool keep_alive, bool with_body = true);
  void sent(bool keep_alive);
  void follow(HttpResponse answer);
  void watch_for_end();
  void send_more();
  void write_chunk(std::string text, bool last);
  void linger();
  void drain();
  void enter(std::optional<HttpStage> stage);
  void leave();

  std::shared_ptr<HttpDesk> desk_;
  boost::beast::basic_stream<Protocol> stream_;
  boost::asio::steady_timer idle_timer_;
  HttpClient client_;
  boost::beast::flat_buffer buffer_;
  std::unique_ptr<Parser> parser_;
  std::optional<boost::beast::http::response<Body>> response_;
  std::optional<HttpStage> stage_;
  std::list<HttpSession*>::iterator place_;           // in that of desk_->stages
  std::function<std::optional<std::string>()> more_;  // set while the answer goes on
  std::string chunk_;
  size_t unsent_ = 0;    // its part of desk_->unsent_bytes
  bool counted_ = true;  // in desk_->open
};

}  // namespace slogate
