// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <utility>

#include "agent/kubernetes/curl.h"
#include "agent/kubernetes/text.h"
#include "agent/kubernetes/token.h"

namespace slogate {
namespace {

// A server that went away without a word is noticed after about half a minute, however long the
// watch would have gone on.
constexpr int kKeepIdle = 15, kKeepInterval = 5, kKeepCount = 3;
constexpr int kUnacknowledgedMs = 30'000;
// The CA is rotated, too: curl would keep it for a day.
constexpr long kCaCacheSeconds = 60;
// Of an answer that is no success: what it says, not more.
constexpr size_t kMostErrorBytes = size_t{64} << 10;

using Easy = std::unique_ptr<CURL, decltype(Curl::easy_cleanup)>;
using Multi = std::unique_ptr<CURLM, decltype(Curl::multi_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(Curl::slist_free_all)>;

struct Config {
  std::string server, token_file, ca_file;
  TransportLimits limits;
};

// One call under way. curl keeps its address.
struct Transfer {
  ApiCaller::Id id = 0;
  ApiCall call;
  ApiHandlers handlers;
  size_t most_bytes = 0, longest_line = 0;
  Headers headers{nullptr, curl().slist_free_all};
  std::array<char, CURL_ERROR_SIZE> error{};
  std::string received;   // a body, or the lines that nobody was given yet
  size_t line_begin = 0;  // in `received`: where the line that is not complete begins
  bool opened = false;    // all headers are here
  bool told = false;      // `handlers.opened` was called
  bool cancelled = false;
  std::string own_error;                    // why we broke it off
  Easy easy{nullptr, curl().easy_cleanup};  // last, so the first to go: it uses the others

  [[nodiscard]] int status() const {
    long status = 0;
    curl().easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
  }
  [[nodiscard]] bool is_watch() const { return call.watch && status() == 200; }
  bool receive(std::string_view bytes);
};

// False ends the transfer.
bool Transfer::receive(std::string_view bytes) {
  received += bytes;
  if (is_watch()) {
    if (const size_t end = bytes.rfind('\n'); end != std::string_view::npos)
      line_begin = received.size() - bytes.size() + end + 1;
    if (received.size() - line_begin <= longest_line) return true;
    own_error = fmt::format("a line of more than {} bytes", longest_line);
    return false;
  }
  const int code = status();
  const size_t most = code >= 200 && code < 300 ? most_bytes : kMostErrorBytes;
  if (received.size() <= most) return true;
  own_error = fmt::format("an answer of more than {} bytes", most);
  return false;
}

size_t on_body(char* data, size_t size, size_t count, void* transfer) {
  try {
    const size_t bytes = size * count;
    return static_cast<Transfer*>(transfer)->receive({data, bytes}) ? bytes : 0;
  } catch (const std::bad_alloc&) {
    return 0;  // not through curl, which is C
  }
}

// An answer of 1xx has its own headers before the real ones.
size_t on_header(char* data, size_t size, size_t count, void* pointer) {
  auto* transfer = static_cast<Transfer*>(pointer);
  const std::string_view line(data, size * count);
  if (line == "\r\n" || line == "\n") transfer->opened = transfer->status() >= 200;
  return line.size();
}

int on_socket(void*, curl_socket_t fd, curlsocktype) {
  const int on = 1;
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdle, sizeof kKeepIdle);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepInterval, sizeof kKeepInterval);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepCount, sizeof kKeepCount);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs,
                     sizeof kUnacknowledgedMs);
  return CURL_SOCKOPT_OK;
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  // It fails for want of memory, and for options that this libcurl does not know.
  if (curl().easy_setopt(easy, option, value) == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
}

void set_security(CURL* easy, const Config& config) {
  const bool tls = config.server.starts_with("https://");
  set(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(easy, CURLOPT_CA_CACHE_TIMEOUT, kCaCacheSeconds);
  if (config.ca_file.empty()) return;
  set(easy, CURLOPT_CAINFO, config.ca_file.c_str());
  // Or every CA of the system would do as well.
  set(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));
}

void set_limits(CURL* easy, const ApiCall& call, const TransportLimits& limits) {
  set(easy, CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(std::chrono::milliseconds(limits.connect).count()));
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::chrono::milliseconds(call.limit).count()));
  if (call.watch) return;  // has nothing to say most of the time
  set(easy, CURLOPT_LOW_SPEED_LIMIT, limits.slow_bytes);
  set(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.slow.count()));
}

void set_callbacks(CURL* easy, Transfer& transfer) {
  set(easy, CURLOPT_PRIVATE, &transfer);
  set(easy, CURLOPT_ERRORBUFFER, transfer.error.data());
  set(easy, CURLOPT_WRITEFUNCTION, &on_body);
  set(easy, CURLOPT_WRITEDATA, &transfer);
  set(easy, CURLOPT_HEADERFUNCTION, &on_header);
  set(easy, CURLOPT_HEADERDATA, &transfer);
  set(easy, CURLOPT_SOCKOPTFUNCTION, &on_socket);
}

// Not from the environment: the API server of a cluster is never behind a proxy of the node's.
void set_connection(CURL* easy, bool fresh) {
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(easy, CURLOPT_PIPEWAIT, 1L);
  set(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
}

void set_request(CURL* easy, const Transfer& transfer, const Config& config) {
  const ApiCall& call = transfer.call;
  set(easy, CURLOPT_URL, (config.server + call.target).c_str());
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_USERAGENT, "slogate-agent");
  set(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
  if (call.method == "GET") return;
  set(easy, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  set(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(call.body.size()));
  set(easy, CURLOPT_POSTFIELDS, call.body.c_str());  // not copied: the transfer keeps it
}

void add_header(Headers& headers, const std::string& line) {
  curl_slist* longer = curl().slist_append(headers.get(), line.c_str());
  if (!longer) throw std::bad_alloc();
  (void)headers.release();
  headers.reset(longer);
}

// The same text each time for the same cause, so that it is logged once: curl's own one of a failed
// connection counts milliseconds. Where TLS fails, only that one says why.
std::string error_text(CURLcode code, const Transfer& transfer) {
  if (!transfer.own_error.empty()) return transfer.own_error;
  long os_error = 0;
  curl().easy_getinfo(transfer.easy.get(), CURLINFO_OS_ERRNO, &os_error);
  if (code == CURLE_COULDNT_CONNECT && os_error != 0)
    return system_error("cannot connect", static_cast<int>(os_error)).message;
  if (code == CURLE_OPERATION_TIMEDOUT) return "it does not answer in time";
  const bool tls = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
                   code == CURLE_SSL_CACERT_BADFILE;
  if (tls && transfer.error[0] != '\0') return for_log(transfer.error.data());
  return for_log(curl().easy_strerror(code));
}

}  // namespace

class Transport::Impl {
 public:
  Impl(Config config, Multi multi) : config_(std::move(config)), multi_(std::move(multi)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  Id start(ApiCall call, ApiHandlers handlers);
  void cancel(Id id);
  void run(std::chrono::milliseconds longest);
  void wake() { curl().multi_wakeup(multi_.get()); }

 private:
  using Pointer = std::shared_ptr<Transfer>;
  struct Ended {
    Id id;
    ApiAnswer answer;
  };
  [[nodiscard]] Result<void> prepare(Transfer& transfer);
  void deliver(const Pointer& transfer);
  void collect_ended();
  void end(const Pointer& transfer, CURLcode code);
  void answer_ended();
  Pointer take(Id id);

  Config config_;
  Multi multi_;
  std::map<Id, Pointer> transfers_;
  std::deque<Ended> ended_;
  Id next_ = 1;
  // A call failed: the connection it used, which others would share, may be dead.
  bool suspicious_ = false;
};

Transport::Impl::~Impl() {
  for (const auto& [id, transfer] : transfers_)
    curl().multi_remove_handle(multi_.get(), transfer->easy.get());
}

ApiCaller::Id Transport::Impl::start(ApiCall call, ApiHandlers handlers) {
  auto transfer = std::make_shared<Transfer>();
  transfer->id = next_++;
  transfer->call = std::move(call);
  transfer->handlers = std::move(handlers);
  transfer->most_bytes = config_.limits.body_bytes;
  transfer->longest_line = config_.limits.line_bytes;
  auto prepared = prepare(*transfer);
  if (prepared && curl().multi_add_handle(multi_.get(), transfer->easy.get()) != CURLM_OK)
    prepared = fail("libcurl does not take the call");
  if (!prepared) {
    transfer->easy.reset();
    ended_.push_back({transfer->id,
                      {.end = ApiAnswer::End::Unasked, .error = for_log(prepared.error().line())}});
  }
  const Id id = transfer->id;
  transfers_.emplace(id, std::move(transfer));
  return id;
}

Result<void> Transport::Impl::prepare(Transfer& transfer) {
  transfer.easy.reset(curl().easy_init());
  if (!transfer.easy) return fail("libcurl does not start");
  add_header(transfer.headers, "Accept: application/json");
  add_header(transfer.headers, "Expect:");  // or bodies of more than 1 KB would wait for a 100
  if (!transfer.call.content_type.empty())
    add_header(transfer.headers, "Content-Type: " + transfer.call.content_type);
  if (!config_.token_file.empty()) {
    const auto token = read_token(config_.token_file);
    if (!token) return fail(token.error());
    add_header(transfer.headers, "Authorization: Bearer " + *token);
  }
  CURL* easy = transfer.easy.get();
  set_security(easy, config_);
  set_limits(easy, transfer.call, config_.limits);
  set_callbacks(easy, transfer);
  set_connection(easy, std::exchange(suspicious_, false));
  set_request(easy, transfer, config_);
  return {};
}

Transport::Impl::Pointer Transport::Impl::take(Id id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return nullptr;
  Pointer transfer = std::move(found->second);
  transfers_.erase(found);
  if (transfer->easy) curl().multi_remove_handle(multi_.get(), transfer->easy.get());
  return transfer;
}

void Transport::Impl::cancel(Id id) {
  if (const Pointer transfer = take(id)) transfer->cancelled = true;
}

void Transport::Impl::run(std::chrono::milliseconds longest) {
  int running = 0;
  // What ended before it began is answered at once.
  const auto wait = ended_.empty() ? longest : std::chrono::milliseconds(0);
  curl().multi_poll(multi_.get(), nullptr, 0, static_cast<int>(wait.count()), nullptr);
  curl().multi_perform(multi_.get(), &running);
  // Handlers start and cancel calls: the list is not the one that is walked.
  std::vector<Pointer> transfers;
  for (const auto& [id, transfer] : transfers_)
    if (transfer->opened && transfer->easy && transfer->is_watch()) transfers.push_back(transfer);
  for (const Pointer& transfer : transfers) deliver(transfer);
  collect_ended();
  answer_ended();
}

void Transport::Impl::deliver(const Pointer& transfer) {
  if (!transfer->cancelled && !std::exchange(transfer->told, true) && transfer->handlers.opened)
    transfer->handlers.opened();
  const std::string lines = transfer->received.substr(0, transfer->line_begin);
  transfer->received.erase(0, transfer->line_begin);
  transfer->line_begin = 0;
  std::string_view rest = lines;
  while (!rest.empty() && !transfer->cancelled) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (!line.empty() && transfer->handlers.line) transfer->handlers.line(line);
  }
}

void Transport::Impl::collect_ended() {
  int left = 0;
  while (const CURLMsg* message = curl().multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer* raw = nullptr;
    curl().easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &raw);
    const auto found = transfers_.find(raw->id);
    if (found != transfers_.end()) end(found->second, message->data.result);
  }
}

void Transport::Impl::end(const Pointer& transfer, CURLcode code) {
  ApiAnswer answer;
  answer.status = transfer->status();
  if (code != CURLE_OK) {
    answer.end = transfer->own_error.empty() ? ApiAnswer::End::Away : ApiAnswer::End::Garbage;
    answer.error = error_text(code, *transfer);
    suspicious_ = true;
  }
  curl_off_t patience = 0;
  curl().easy_getinfo(transfer->easy.get(), CURLINFO_RETRY_AFTER, &patience);
  if (patience > 0) answer.retry_after = std::chrono::seconds(patience);
  // Of a watch only lines count, and one that broke off is none.
  if (!transfer->is_watch()) answer.body = std::move(transfer->received);
  ended_.push_back({transfer->id, std::move(answer)});
}

void Transport::Impl::answer_ended() {
  for (Ended& one : std::exchange(ended_, {})) {
    const Pointer transfer = take(one.id);
    if (transfer && transfer->handlers.done) transfer->handlers.done(one.answer);
  }
}

Transport::Transport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transport::~Transport() = default;
ApiCaller::Id Transport::start(ApiCall call, ApiHandlers handlers) {
  return impl_->start(std::move(call), std::move(handlers));
}
void Transport::cancel(Id id) {
  impl_->cancel(id);
}
void Transport::run(std::chrono::milliseconds longest) {
  impl_->run(longest);
}
void Transport::wake() {
  impl_->wake();
}

Result<std::unique_ptr<Transport>> Transport::make(std::string server, std::string token_file,
                                                   std::string ca_file,
                                                   const TransportLimits& limits) {
  const bool plain = server.starts_with("http://");
  if (!plain && !server.starts_with("https://"))
    return fail(fmt::format("{} is no address of an API server", for_log(server)),
                "write https://HOST:PORT");
  if (plain && !(token_file.empty() && ca_file.empty()))
    return fail("a token must not be sent without TLS", "write https://HOST:PORT");
  if (auto loaded = load_curl(); !loaded) return fail(loaded.error());
  Multi multi(curl().multi_init(), curl().multi_cleanup);
  if (!multi) return fail("libcurl does not start");
  return std::unique_ptr<Transport>(new Transport(std::make_unique<Impl>(
      Config{std::move(server), std::move(token_file), std::move(ca_file), limits},
      std::move(multi))));
}

}  // namespace slogate
