// SPDX-License-Identifier: Apache-2.0
#include "agent/http/http_session.h"

namespace slogate {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

// What is read at once from a client that is being shown out.
constexpr size_t kReadBytes = 4096;

std::string text(beast::string_view view) {
  return {view.data(), view.size()};
}

// Each proxy says so in one of these, or nobody can know.
bool is_forwarded(const http::request<http::string_body>& message) {
  for (const char* name : {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"})
    if (message.find(name) != message.end()) return true;
  return false;
}

// Nothing but the target can be wrong with what the parser took.
Result<HttpRequest> to_request(http::request<http::string_body>&& message,
                               const HttpClient& client) {
  auto target = parse_target(text(message.target()));
  if (!target) return fail(target.error());
  const bool head = message.method() == http::verb::head;
  return HttpRequest{.method = head ? "GET" : text(message.method_string()),
                     .path = std::move(target->path),
                     .query = std::move(target->query),
                     .body = std::move(message.body()),
                     .accept = text(message[http::field::accept]),
                     .accept_encoding = text(message[http::field::accept_encoding]),
                     .peer = client.peer,
                     .client = client.address,
                     .host = text(message[http::field::host]),
                     .forwarded = is_forwarded(message)};
}

http::response<http::string_body> to_message(HttpResponse&& answer, bool keep_alive,
                                             bool with_body) {
  http::response<http::string_body> message;
  message.result(static_cast<unsigned>(answer.status));
  message.set(http::field::content_type, answer.content_type);
  // Answers are of one moment, and data even where they quote a request.
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : answer.headers) message.set(name, value);
  message.content_length(answer.body.size());
  message.keep_alive(keep_alive);
  if (with_body) message.body() = std::move(answer.body);
  return message;
}

// The answer to what is not a request, or nothing when the client has gone.
std::optional<HttpResponse> to_refusal(error_code error, const HttpLimits& limits) {
  if (error == http::error::body_limit)
    return error_response(413, fmt::format("the body is larger than {} bytes", limits.body_bytes));
  if (error == http::error::header_limit)
    return error_response(400,
                          fmt::format("the header is larger than {} bytes", limits.header_bytes));
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error.category() != http::make_error_code(http::error::bad_method).category())
    return std::nullopt;
  return error_response(400, "not an HTTP/1.1 request");
}

}  // namespace

void HttpErrors::write(const std::string& line) {
  if (line == last_) return;
  last_ = line;
  if (log_) log_(line);
}

HttpResponse HttpDesk::answer(const HttpRequest& request) {
  try {
    return handler(request);
  } catch (const std::exception& exception) {
    errors->write(fmt::format("http: a request failed: {}", exception.what()));
  } catch (...) {
    errors->write("http: a request failed: unknown exception");
  }
  return error_response(503, "internal error; the agent's log says more");
}

bool HttpDesk::make_room() {
  if (open < limits.connections) return true;
  for (const auto& stage : stages)
    for (HttpSession* session : stage) {
      if (session->is_about_to_read()) continue;
      session->close();
      return true;
    }
  return false;
}

HttpSession::HttpSession(std::shared_ptr<HttpDesk> desk, Protocol::socket socket, HttpClient client)
    : desk_(std::move(desk)),
      stream_(std::move(socket)),
      idle_timer_(stream_.get_executor()),
      client_(client),
      buffer_(desk_->limits.header_bytes + desk_->limits.body_bytes) {
  ++desk_->open;
}

// Nothing is read while the session stands as idle, so that is_about_to_read() sees all there is: a
// read that the reactor has finished and not yet reported would be missed.
void HttpSession::wait() {
  if (buffer_.size() > 0) return read();  // a pipelined request
  enter(HttpStage::Idle);
  end_when_idle();
  stream_.socket().async_wait(Protocol::socket::wait_read,
                              [self = shared_from_this()](error_code error) {
                                self->idle_timer_.cancel();
                                self->enter(std::nullopt);
                                if (!error) self->read();
                              });
}

void HttpSession::end_when_idle() {
  idle_timer_.expires_after(desk_->limits.idle);
  idle_timer_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self || self->stage_ != HttpStage::Idle) return;
    // It may have gone off too late to be cancelled, and the session be idle anew.
    if (self->idle_timer_.expiry() <= std::chrono::steady_clock::now()) self->close();
  });
}

void HttpSession::read() {
  enter(HttpStage::Reading);
  parser_ = std::make_unique<Parser>();
  parser_->header_limit(static_cast<uint32_t>(desk_->limits.header_bytes));
  parser_->body_limit(desk_->limits.body_bytes);
  stream_.expires_after(desk_->limits.read);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](error_code error, size_t) {
                     if (error)
                       self->respond_to_garbage(error);
                     else
                       self->respond();
                   });
}

void HttpSession::respond() {
  const auto& message = parser_->get();
  // HTTP/1.0 clients that want to be kept alive expect another answer than ours.
  const bool keep_alive = message.keep_alive() && message.version() >= 11;
  const bool with_body = message.method() != http::verb::head;
  const auto request = to_request(parser_->release(), client_);
  if (request)
    send(desk_->answer(*request), keep_alive, with_body);
  else
    send(error_response(400, request.error().line()), keep_alive, with_body);
}

// The last answer: where the next request would begin is not known.
void HttpSession::respond_to_garbage(error_code error) {
  if (auto refusal = to_refusal(error, desk_->limits)) send(std::move(*refusal), false);
}

void HttpSession::send(HttpResponse answer, bool keep_alive, bool with_body) {
  size_t& unsent = desk_->unsent_bytes;
  if (with_body && unsent > 0 && unsent + answer.body.size() > desk_->limits.unsent_bytes)
    answer = error_response(503, "too many answers wait for clients that do not read");
  if (answer.more && with_body) return follow(std::move(answer));
  response_ = to_message(std::move(answer), keep_alive, with_body);
  unsent_ = response_->body().size();
  unsent += unsent_;
  enter(HttpStage::Writing);
  stream_.expires_after(desk_->limits.write);
  http::async_write(stream_, *response_,
                    [self = shared_from_this(), keep_alive](error_code error, size_t) {
                      if (!error) self->sent(keep_alive);
                    });
}

void HttpSession::sent(bool keep_alive) {
  desk_->unsent_bytes -= std::exchange(unsent_, 0);
  response_.reset();
  if (keep_alive)
    wait();
  else
    linger();
}

// An answer that goes on is the last of its connection. What is in it so far goes out with the
// header.
void HttpSession::follow(HttpResponse answer) {
  if (desk_->followers >= desk_->limits.followers)
    return send(error_response(503, "too many clients follow: try again without follow"), false);
  ++desk_->followers;
  enter(std::nullopt);
  more_ = std::move(answer.more);
  chunk_ = fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nCache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\nConnection: close\r\n"
      "Transfer-Encoding: chunked\r\n\r\n",
      answer.content_type);
  watch_for_end();
  write_chunk(std::move(answer.body), false);
}

// Whoever follows has nothing more to say: anything, or the end, ends it. Without this a client
// that left would be noticed at the next event only.
void HttpSession::watch_for_end() {
  stream_.socket().async_wait(Protocol::socket::wait_read,
                              [self = shared_from_this()](error_code error) {
                                if (!error) self->close();
                              });
}

void HttpSession::write_chunk(std::string text, bool last) {
  if (!text.empty()) chunk_ += fmt::format("{:x}\r\n{}\r\n", text.size(), text);
  if (last) chunk_ += "0\r\n\r\n";
  stream_.expires_after(desk_->limits.write);
  boost::asio::async_write(stream_, boost::asio::buffer(chunk_),
                           [self = shared_from_this(), last](error_code error, size_t) {
                             self->chunk_.clear();
                             if (error) return;
                             if (last) return self->linger();
                             self->stream_.expires_never();
                             self->send_more();
                           });
}

void HttpSession::send_more() {
  idle_timer_.expires_after(desk_->limits.follow);
  idle_timer_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self || !self->more_) return;
    std::optional<std::string> text = self->more_();
    if (!text) return self->write_chunk("", true);
    if (text->empty()) return self->send_more();
    self->write_chunk(std::move(*text), false);
  });
}

// Closing with input unread would reset the connection, perhaps before the client has the answer.
void HttpSession::linger() {
  error_code ignored;
  (void)stream_.socket().shutdown(Protocol::socket::shutdown_send, ignored);
  buffer_.clear();
  enter(HttpStage::Idle);
  stream_.expires_after(desk_->limits.linger);
  drain();
}

void HttpSession::drain() {
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](error_code error, size_t) {
                            if (!error) self->drain();
                          });
}

bool HttpSession::is_about_to_read() {
  error_code ignored;
  return stage_ == HttpStage::Idle && stream_.socket().available(ignored) > 0;
}

void HttpSession::close() {
  leave();
  stream_.close();
}

void HttpSession::enter(std::optional<HttpStage> stage) {
  const auto list = [this](HttpStage of) -> auto& {
    return desk_->stages[static_cast<size_t>(of)];
  };
  if (stage_) list(*stage_).erase(place_);
  stage_ = stage;
  if (stage) place_ = list(*stage).insert(list(*stage).end(), this);
}

// Out of the books at once, also where the last operation has yet to notice the end.
void HttpSession::leave() {
  enter(std::nullopt);
  desk_->unsent_bytes -= std::exchange(unsent_, 0);
  if (std::exchange(more_, nullptr)) --desk_->followers;
  if (std::exchange(counted_, false)) --desk_->open;
}

}  // namespace slogate
