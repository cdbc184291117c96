// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "agent/http/http_message.h"
#include "agent/http/listen.h"
#include "maps/error.h"

namespace slogate {

// Answers one request, on the server's thread. What it throws is logged and answered with 503.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// A socket to serve and who answers there.
struct HttpEndpoint {
  ListeningSocket socket;
  HttpHandler handler;
};

// What one client can take from the others. Tests use smaller ones.
struct HttpLimits {
  // No client of ours sends headers of more than a few hundred bytes; proxies add a few thousand.
  size_t header_bytes = 8192;
  // The largest body of the API is a handful of fields.
  size_t body_bytes = 65536;
  // From the first byte of a request to its last: local clients need microseconds.
  std::chrono::milliseconds read{5'000};
  // Between requests. Prometheus scrapes every 15 s or 30 s and may come back on the same one.
  std::chrono::milliseconds idle{30'000};
  // For a whole answer: Prometheus gives up on a scrape after 10 s.
  std::chrono::milliseconds write{10'000};
  // For the client to take notice of the end, so that what it still sends does not reset the
  // connection before it has read the answer.
  std::chrono::milliseconds linger{1'000};
  // On each endpoint: a few controllers, scrapers and people, and far below the 1024 descriptors a
  // process has by default.
  size_t connections = 128;
  // Of these, answers that go on until the client leaves: the rest is for those who ask and go.
  size_t followers = 16;
  // How often those that go on are looked after.
  std::chrono::milliseconds follow{250};
  // Answers that wait to be sent, all clients of an endpoint together: clients that ask and do not
  // read must not drive the agent into its memory limit. One that is larger waits alone.
  size_t unsent_bytes = size_t{16} << 20;
};

// Takes one line of text; called on the server's thread.
using HttpLog = std::function<void(std::string_view)>;

// An HTTP/1.1 server on a thread of its own, which ends with the object. It knows bytes, limits and
// time; what a path means is the handler's business. Connections are kept alive, pipelined requests
// are answered in order, HEAD is answered like GET without the body. What is not HTTP gets 400, a
// body beyond the limit 413. A client beyond the limit of connections takes the place of the one
// that has been idle longest; where none is idle, of the one that has taken longest to say what it
// wants, and then to read its answer: who is quick is served whatever others do. Only where all
// follow it gets 503.
class HttpServer {
 public:
  static Result<HttpServer> start(std::vector<HttpEndpoint> endpoints, HttpLog log,
                                  const HttpLimits& limits = {});
  HttpServer(HttpServer&&) noexcept;
  HttpServer& operator=(HttpServer&&) noexcept;
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slogate
