// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/client.h"

#include <grp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "tools/cli/text.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using Local = boost::asio::local::stream_protocol;
using Response = http::response_parser<http::string_body>;

// Far above what a node full of cgroups needs, and below what would hurt it.
constexpr size_t kMaxBody = 256u << 20;
constexpr int kMaxDepth = 32;
constexpr unsigned kOkStatus = 200;

// Runs one exchange step by step; each step starts the next and the last error is what remains.
class Exchange {
 public:
  Exchange(http::verb verb, const std::string& target, const std::string& body,
           std::chrono::milliseconds timeout)
      : request_(verb, target, 11, body) {
    request_.set(http::field::host, "localhost");
    if (verb != http::verb::get) request_.prepare_payload();
    request_.set(http::field::connection, "close");
    response_.body_limit(kMaxBody);
    stream_.expires_after(timeout);
  }

  // Whether it got far enough to have an answer is told by error().
  void run(const std::string& path) {
    stream_.async_connect(Local::endpoint(path), [this](beast::error_code error) {
      if (go_on(error)) write();
    });
    context_.run();
  }

  [[nodiscard]] beast::error_code error() const { return error_; }
  [[nodiscard]] const Response::value_type& response() { return response_.get(); }

 private:
  bool go_on(beast::error_code error) {
    error_ = error;
    return !error;
  }
  void write() {
    http::async_write(stream_, request_, [this](beast::error_code error, size_t) {
      // An agent that turns a peer away may answer and close before it has read all.
      if (go_on(error) || error == boost::asio::error::broken_pipe) read();
    });
  }
  void read() {
    http::async_read(stream_, buffer_, response_,
                     [this](beast::error_code error, size_t) { go_on(error); });
  }

  boost::asio::io_context context_;
  beast::basic_stream<Local> stream_{context_};
  http::request<http::string_body> request_;
  Response response_;
  beast::flat_buffer buffer_;
  beast::error_code error_;
};

// Who may use the socket, as far as that can be seen from here.
std::string group_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "the socket's group";
  // cppcheck-suppress getgrgidCalled ; there is one thread
  const struct group* group = ::getgrgid(status.st_gid);
  return group != nullptr ? fmt::format("group {}", group->gr_name)
                          : fmt::format("group {}", status.st_gid);
}

std::string remedy_for(const std::string& path, beast::error_code error) {
  if (error == boost::asio::error::access_denied)
    return fmt::format("run as root or as a member of {}", group_of(path));
  if (error == beast::error::timeout) return "the agent is there but does not answer: see its log";
  if (error.value() == ENOENT)
    return "is the agent running? name another socket with --socket PATH";
  return "is the agent running?";
}

std::unexpected<Failure> unreachable(const std::string& path, beast::error_code error,
                                     std::chrono::milliseconds timeout) {
  const std::string why =
      error == beast::error::timeout
          ? "no answer within " + to_duration(std::chrono::duration<double>(timeout).count())
      : error == http::error::end_of_stream ? "the connection was closed without an answer"
                                            : error.message();
  return fail(kUnreachable, fmt::format("cannot reach the agent at {}: {}", path, why),
              remedy_for(path, error));
}

bool is_http_error(beast::error_code error) {
  return error.category() == http::make_error_code(http::error::bad_version).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

std::string error_text(const Json& json, unsigned status) {
  if (json.is_object() && json.contains("error") && json["error"].is_string())
    return printable(json["error"].get<std::string>());
  return fmt::format("the agent answered with HTTP status {}", status);
}

}  // namespace

Outcome<Json> parse_answer(unsigned status, std::string_view body) {
  int deepest = 0;
  const auto watch = [&deepest](int depth, Json::parse_event_t, const Json&) {
    deepest = std::max(deepest, depth);
    return depth <= kMaxDepth;
  };
  Json json = Json::parse(body, watch, false);
  const bool bad = json.is_discarded() || deepest > kMaxDepth;
  if (status != kOkStatus) return fail(kFailed, error_text(bad ? Json() : json, status));
  if (bad) return fail(kFailed, "the answer is not JSON", "is this the socket of slogate-agent?");
  return json;
}

namespace {

struct Answer {
  unsigned status;
  std::string body;
};

Outcome<Answer> ask(const std::string& path, http::verb verb, const std::string& target,
                    const std::string& body, std::chrono::milliseconds timeout) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un{}.sun_path))
    return fail(kUnreachable, fmt::format("\"{}\" cannot be the path of a socket", path),
                fmt::format("it has 1 to {} bytes", sizeof(sockaddr_un{}.sun_path) - 1));
  Exchange exchange(verb, target, body, timeout);
  exchange.run(path);
  if (is_http_error(exchange.error()))
    return fail(kFailed,
                fmt::format("{} does not speak HTTP as the agent does: {}", path,
                            exchange.error().message()),
                "is this the socket of slogate-agent?");
  if (exchange.error()) return unreachable(path, exchange.error(), timeout);
  return Answer{exchange.response().result_int(), exchange.response().body()};
}

Outcome<Json> to_json(const Outcome<Answer>& answer) {
  if (!answer) return std::unexpected(answer.error());
  return parse_answer(answer->status, answer->body);
}

}  // namespace

Outcome<Json> get(const std::string& path, const std::string& target,
                  std::chrono::milliseconds timeout) {
  return to_json(ask(path, http::verb::get, target, "", timeout));
}

Outcome<std::string> get_text(const std::string& path, const std::string& target,
                              std::chrono::milliseconds timeout) {
  auto answer = ask(path, http::verb::get, target, "", timeout);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status == kOkStatus) return std::move(answer->body);
  const auto failed = parse_answer(answer->status, answer->body);
  return std::unexpected(failed.error());
}

Outcome<Json> post(const std::string& path, const std::string& target, const Json& body,
                   std::chrono::milliseconds timeout) {
  return to_json(ask(path, http::verb::post, target, body.dump(), timeout));
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view plain = "-._~/";
  std::string encoded;
  for (const char c : text) {
    const bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      plain.find(c) != std::string_view::npos;
    if (keep)
      encoded += c;
    else
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace slogate::cli
