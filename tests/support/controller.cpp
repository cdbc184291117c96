// SPDX-License-Identifier: Apache-2.0
#include "tests/support/controller.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <thread>

#include "maps/integer.h"

namespace slogate::support {
namespace {

using std::chrono::steady_clock;

constexpr int kMostRedirects = 10;

// The value of a header; "" where there is none.
std::string header(std::string_view head, std::string_view name) {
  const auto same = [](char a, char b) { return std::tolower(a) == std::tolower(b); };
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(head.size(), line.size() + 2));
    if (line.size() <= name.size() || line[name.size()] != ':' ||
        !std::ranges::equal(line.substr(0, name.size()), name, same))
      continue;
    const size_t value = line.find_first_not_of(' ', name.size() + 1);
    return value == std::string_view::npos ? "" : std::string(line.substr(value));
  }
  return "";
}

int to_int(std::string_view text) {
  return parse_integer<int>(leading_digits(text)).value_or(-1);
}

// Whether something can be read, the end included.
bool is_readable(int fd, steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
  pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, static_cast<int>(std::max<int64_t>(0, left.count()))) > 0;
}

}  // namespace

std::string GoClient::connect(Deadline deadline) {
  const auto address = parse_address(host_, port_);
  if (!address) return address.error().line();
  const Flag never;
  auto connected = connect_to(*address, deadline - steady_clock::now(), 0, never);
  if (connected.gave_up) return "timeout";
  if (!connected.fd) return to_errno_name(connected.error);
  fd_ = std::move(connected.fd);
  input_.clear();
  return "";
}

bool GoClient::is_ended_within(std::chrono::milliseconds time) {
  return fd_ && is_readable(fd_.get(), steady_clock::now() + time) && !fill(steady_clock::now());
}

// False at the end, at an error, and when time is over; why_ says which.
bool GoClient::fill(Deadline deadline) {
  if (!is_readable(fd_.get(), deadline)) return why_ = "timeout", false;
  char bytes[4096];
  const ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  if (n <= 0) return why_ = n == 0 ? "EOF" : to_errno_name(errno), false;
  input_.append(bytes, static_cast<size_t>(n));
  return true;
}

// Only what the API sends: a body has a length.
GoClient::Reply GoClient::receive(Deadline deadline) {
  size_t end = 0;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos)
    if (!fill(deadline)) return {{.error = why_}, "", input_.empty() && why_ != "timeout"};
  const std::string head = input_.substr(0, end + 2);
  const int length = to_int(header(head, "Content-Length"));
  if (!head.starts_with("HTTP/1.1 ") || length < 0)
    return {{.error = "malformed answer"}, "", false};
  if (!header(head, "Content-Encoding").empty()) return {{.error = "encoded answer"}, "", false};
  while (input_.size() < end + 4 + static_cast<size_t>(length))
    if (!fill(deadline)) return {{.error = "unexpected " + why_}, "", false};
  Reply reply{{.status = to_int(std::string_view(head).substr(9)),
               .body = input_.substr(end + 4, static_cast<size_t>(length))},
              header(head, "Location"),
              false};
  input_.erase(0, end + 4 + static_cast<size_t>(length));
  if (header(head, "Connection") == "close") fd_.reset();
  return reply;
}

GoClient::Reply GoClient::send_once(const std::string& request, Deadline deadline) {
  if (!fd_)
    if (std::string error = connect(deadline); !error.empty())
      return {{.error = std::move(error)}, "", false};
  std::string_view left = request;
  while (!left.empty()) {
    const ssize_t n = ::send(fd_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (n <= 0) return {{.error = to_errno_name(errno)}, "", true};
    left.remove_prefix(static_cast<size_t>(n));
  }
  return receive(deadline);
}

GoClient::Reply GoClient::exchange(const std::string& request, bool may_be_stale,
                                   Deadline deadline) {
  if (is_ended_within({})) fd_.reset();
  const bool reused = fd_.valid();
  Reply reply = send_once(request, deadline);
  if (!reply.answer.error.empty()) fd_.reset();
  if (!reply.stale || !reused || !may_be_stale) return reply;
  reply = send_once(request, deadline);
  if (!reply.answer.error.empty()) fd_.reset();
  return reply;
}

GoAnswer GoClient::ask(std::string_view method, std::string_view target, std::string_view body) {
  const Deadline deadline = steady_clock::now() + timeout_;
  std::string path(target);
  for (int redirects = 0; redirects < kMostRedirects; ++redirects) {
    std::string request =
        fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: Go-http-client/1.1\r\n", method,
                    path, host_, port_);
    if (method == "POST")
      request +=
          fmt::format("Content-Length: {}\r\nContent-Type: application/json\r\n", body.size());
    request += fmt::format("Accept-Encoding: gzip\r\n\r\n{}", body);
    Reply reply = exchange(request, method == "GET", deadline);
    const int status = reply.answer.status;
    if (status < 300 || status >= 400 || reply.location.empty()) return reply.answer;
    path = reply.location;
    if (status < 307) method = "GET", body = "";
  }
  return {.error = "stopped after 10 redirects"};
}

// ---- Argo Rollouts ----

std::string_view name_of(ArgoPhase phase) {
  switch (phase) {
    case ArgoPhase::Successful:
      return "Successful";
    case ArgoPhase::Failed:
      return "Failed";
    case ArgoPhase::Inconclusive:
      return "Inconclusive";
    case ArgoPhase::Error:
      return "Error";
  }
  return "";
}

ArgoPhase to_argo_phase(const GoAnswer& answer, const ArgoConditions& conditions) {
  if (!answer.error.empty() || answer.status < 200 || answer.status >= 300) return ArgoPhase::Error;
  // What is no JSON (NaN is none, nor is an empty body) becomes the result as it is.
  nlohmann::json result = answer.body;
  if (const auto json = nlohmann::json::parse(answer.body, nullptr, false); !json.is_discarded()) {
    if (!json.is_object() || !json.contains("verdict")) return ArgoPhase::Error;
    result = json["verdict"];
  }
  const bool success = conditions.success && result == *conditions.success;
  const bool failure = conditions.failure && result == *conditions.failure;
  if (failure) return ArgoPhase::Failed;
  if (!conditions.success || success) return ArgoPhase::Successful;
  return conditions.failure ? ArgoPhase::Inconclusive : ArgoPhase::Failed;
}

// ---- Flagger ----

bool is_yes(const GoAnswer& answer) {
  return answer.error.empty() && answer.status >= 200 && answer.status <= 202;
}

GoAnswer call_webhook(const std::string& host, uint16_t port, std::string_view target,
                      std::string_view body, int retries) {
  for (int attempt = 0;; ++attempt) {
    GoAnswer answer = GoClient(host, port, std::chrono::seconds(10)).post(target, body);
    const bool again = !answer.error.empty() || answer.status == 429 ||
                       (answer.status >= 500 && answer.status != 501);
    if (!again) return answer;
    if (attempt == retries)
      return {.error = fmt::format("giving up: {}{}", answer.status, answer.error)};
    std::this_thread::sleep_for(std::chrono::seconds(1 << std::min(attempt, 4)));
  }
}

}  // namespace slogate::support
