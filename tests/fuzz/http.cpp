// SPDX-License-Identifier: Apache-2.0
// A client's bytes, all the way: the session and its parser, the API, JSON in and out.
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/api/api.h"
#include "agent/http/http_session.h"
#include "maps/fd.h"
#include "tests/fuzz/fuzz.h"

namespace slogate {
namespace {

Snapshot make_snapshot() {
  Snapshot snapshot;
  snapshot.drop_reasons = std::make_shared<const std::vector<std::string>>();
  snapshot.workloads.edit().push_back({.id = 7,
                                       .path = "/demo/a",
                                       .service = std::make_shared<const Counts>(),
                                       .others = {},
                                       .server = {},
                                       .client = {}});
  SloStatus demo;
  demo.slo.name = "demo";
  demo.slo.canary = std::vector{*Glob::parse("/demo/**")};
  Verdicts verdicts;
  verdicts.slos = {std::make_shared<const SloStatus>(std::move(demo))};
  verdicts.list = {std::make_shared<const Verdict>(Verdict{.slo = "demo"})};
  snapshot.verdicts = std::make_shared<const Verdicts>(std::move(verdicts));
  return snapshot;
}

const std::shared_ptr<const Snapshot> kSnapshot = std::make_shared<const Snapshot>(make_snapshot());

// Of a server that root asks over the Unix socket: everything there is.
HttpResponse handle(const HttpRequest& request) {
  for (const char c : request.path) fuzz::require(c >= 0x20 || c < 0, "no control characters");
  const ApiActions actions = {
      .resize = [](const std::string& map, size_t) -> Result<std::string> { return map; },
      .reset = [](const std::string& slo) -> Result<std::string> { return fail("no " + slo); },
      .latest = [] { return kSnapshot; },
      .contents = [](const std::string&) -> Result<MapContents> { return MapContents{}; },
      .admins = {}};
  HttpResponse response = answer(request, *kSnapshot, actions);
  fuzz::require(response.status >= 200 && response.status < 500, "a request is never our failure");
  if (response.content_type == "application/json")
    fuzz::require(nlohmann::json::accept(response.body), "what is called JSON is JSON");
  return response;
}

// What the client was told; it has said all it has to say.
std::string converse(std::string_view input) {
  int ends[2];
  fuzz::require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0, "a socket pair");
  const Fd client(ends[0]);
  boost::asio::io_context io{1};
  auto desk = std::make_shared<HttpDesk>(
      HttpDesk{{}, handle, std::make_shared<HttpErrors>([](std::string_view line) {
                 fuzz::require(false, std::string(line).c_str());
               })});
  HttpSession::Protocol::socket socket(io, HttpSession::Protocol(AF_UNIX, 0), ends[1]);
  std::make_shared<HttpSession>(desk, std::move(socket), HttpClient{})->wait();
  std::string output;
  while (!io.stopped()) {
    const ssize_t sent = ::send(client.get(), input.data(), input.size(), MSG_NOSIGNAL);
    if (sent > 0) input.remove_prefix(static_cast<size_t>(sent));
    if (input.empty()) ::shutdown(client.get(), SHUT_WR);
    io.poll();
    char buffer[65536];
    for (ssize_t n = 0; (n = ::recv(client.get(), buffer, sizeof buffer, 0)) > 0;)
      output.append(buffer, static_cast<size_t>(n));
    if (desk->open == 0) break;
  }
  fuzz::require(desk->open == 0 && desk->unsent_bytes == 0, "the books are closed");
  for (const auto& stage : desk->stages) fuzz::require(stage.empty(), "nobody waits");
  return output;
}

}  // namespace
}  // namespace slogate

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string output = slogate::converse(slogate::fuzz::text(data, size));
  slogate::fuzz::require(output.empty() || output.starts_with("HTTP/1.1 "), "answers are HTTP");
  return 0;
}
