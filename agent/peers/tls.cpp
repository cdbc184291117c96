// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/tls.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <span>

#include "maps/file.h"

namespace slogate {
namespace {

constexpr size_t kLeastKey = 32, kMostKey = 4096;
constexpr std::string_view kIdentity = "slogate";
// The key of a file is never used itself, so that it may be used elsewhere.
constexpr std::string_view kLabel = "slogate peers 1";
// One suite, since the key belongs to its hash.
constexpr const char* kSuite = "TLS_AES_128_GCM_SHA256";
constexpr std::array<unsigned char, 2> kSuiteBytes = {0x13, 0x01};

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

// The oldest error of OpenSSL's, as a sentence's end; the others go.
std::string last_error() {
  std::array<char, 256> text{};
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "unknown error";
  const char* reason = ERR_reason_error_string(error);
  if (reason != nullptr) return reason;
  ERR_error_string_n(error, text.data(), text.size());
  return text.data();
}

std::unexpected<Error> fail_tls(std::string_view what, std::string remedy = {}) {
  return fail(fmt::format("{}: {}", what, last_error()), std::move(remedy));
}

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

std::string from_hex(std::string_view text) {
  const auto digit = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  };
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1])));
  return bytes;
}

}  // namespace

Result<std::string> parse_shared_key(std::string_view content) {
  std::string_view text = content;
  while (text.ends_with('\n') || text.ends_with('\r') || text.ends_with(' ')) text.remove_suffix(1);
  const bool hex = text.size() >= 2 * kLeastKey && text.size() % 2 == 0 && is_hex(text);
  std::string key = hex ? from_hex(text) : std::string(content);
  if (!hex && is_hex(text) && text.size() >= kLeastKey)
    return fail(fmt::format("the key has {} hexadecimal digits", text.size()),
                "write 64 or more: openssl rand -hex 32");
  if (key.size() < kLeastKey)
    return fail(fmt::format("the key has {} bytes", key.size()),
                "write at least 32: openssl rand -hex 32");
  return key;
}

struct TlsKeys::Impl {
  Context lender{nullptr, &SSL_CTX_free}, asker{nullptr, &SSL_CTX_free};
  std::array<unsigned char, 32> shared{};
  ~Impl() { OPENSSL_cleanse(shared.data(), shared.size()); }
};

namespace {

// The key as TLS wants it, a session that is taken up. Null when there is no memory.
SSL_SESSION* session_of(SSL* ssl, std::span<const unsigned char> key) {
  SSL_SESSION* session = SSL_SESSION_new();
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kSuiteBytes.data());
  if (session != nullptr && cipher != nullptr &&
      SSL_SESSION_set1_master_key(session, key.data(), key.size()) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 &&
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
    return session;
  SSL_SESSION_free(session);
  return nullptr;
}

std::span<const unsigned char> key_of(const SSL* ssl) {
  const auto* key =
      static_cast<const std::array<unsigned char, 32>*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  return *key;
}

int find_session(SSL* ssl, const unsigned char* identity, size_t length, SSL_SESSION** session) {
  *session = nullptr;
  if (std::string_view(reinterpret_cast<const char*>(identity), length) != kIdentity)
    return 1;  // and goes on without, to find no certificate
  *session = session_of(ssl, key_of(ssl));
  return *session != nullptr ? 1 : 0;
}

int use_session(SSL* ssl, const EVP_MD* /*md*/, const unsigned char** identity, size_t* length,
                SSL_SESSION** session) {
  *identity = reinterpret_cast<const unsigned char*>(kIdentity.data());
  *length = kIdentity.size();
  *session = session_of(ssl, key_of(ssl));
  return *session != nullptr ? 1 : 0;
}

Result<Context> make_context(const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method), &SSL_CTX_free);
  if (!context) return fail_tls("cannot start TLS");
  SSL_CTX* to = context.get();
  if (SSL_CTX_set_min_proto_version(to, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(to, kSuite) != 1 || SSL_CTX_set_num_tickets(to, 0) != 1)
    return fail_tls("cannot set up TLS");
  // Nothing is resumed: connections are kept.
  SSL_CTX_set_options(to, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(to, SSL_SESS_CACHE_OFF);
  // A connection is idle most of the time, and then needs no buffers: 34 KB each.
  SSL_CTX_set_mode(to, SSL_MODE_RELEASE_BUFFERS);
  return context;
}

Result<void> use_certificate(SSL_CTX* to, const PeerTls& tls) {
  if (SSL_CTX_use_certificate_chain_file(to, tls.cert.c_str()) != 1)
    return fail_tls(fmt::format("cannot use the certificate {}", tls.cert));
  if (SSL_CTX_use_PrivateKey_file(to, tls.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(to) != 1)
    return fail_tls(fmt::format("cannot use the key {}", tls.key),
                    "it must be the key of the certificate, without a password");
  return {};
}

Result<void> trust(SSL_CTX* to, const PeerTls& tls) {
  if (SSL_CTX_load_verify_locations(to, tls.ca.c_str(), nullptr) != 1)
    return fail_tls(fmt::format("cannot use the certificates of {}", tls.ca));
  return {};
}

}  // namespace

TlsKeys::TlsKeys(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsKeys::TlsKeys(TlsKeys&&) noexcept = default;
TlsKeys& TlsKeys::operator=(TlsKeys&&) noexcept = default;
TlsKeys::~TlsKeys() = default;

Result<TlsKeys> TlsKeys::read(const PeerSecurity& security, bool tokens) {
  auto impl = std::make_unique<Impl>();
  auto lender = make_context(TLS_server_method());
  auto asker = make_context(TLS_client_method());
  if (!lender) return fail(lender.error());
  if (!asker) return fail(asker.error());
  impl->lender = std::move(*lender);
  impl->asker = std::move(*asker);
  SSL_CTX *accepts = impl->lender.get(), *connects = impl->asker.get();
  if (security.tls) {
    const PeerTls& tls = *security.tls;
    for (SSL_CTX* to : {accepts, connects}) {
      if (auto done = trust(to, tls); !done) return fail(done.error());
      if (auto done = use_certificate(to, tls); !done) return fail(done.error());
    }
    SSL_CTX_set_verify(connects, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_verify(accepts, SSL_VERIFY_PEER | (tokens ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
                       nullptr);
    return TlsKeys(std::move(impl));
  }
  auto content = read_file(security.key_file, kMostKey);
  if (!content) return fail(content.error().within(security.key_file));
  auto key = parse_shared_key(*content);
  OPENSSL_cleanse(content->data(), content->size());
  if (!key) return fail(key.error().within(security.key_file));
  unsigned size = 0;
  HMAC(EVP_sha256(), key->data(), static_cast<int>(key->size()),
       reinterpret_cast<const unsigned char*>(kLabel.data()), kLabel.size(), impl->shared.data(),
       &size);
  OPENSSL_cleanse(key->data(), key->size());
  for (SSL_CTX* to : {accepts, connects}) SSL_CTX_set_app_data(to, &impl->shared);
  SSL_CTX_set_psk_find_session_callback(accepts, find_session);
  SSL_CTX_set_psk_use_session_callback(connects, use_session);
  // A server that has no certificate either fails without the key; a client has to insist.
  SSL_CTX_set_verify(connects, SSL_VERIFY_PEER, nullptr);
  return TlsKeys(std::move(impl));
}

void TlsStream::Free::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}

TlsStream::TlsStream(const TlsKeys& keys, Side side) {
  const bool accepts = side == Side::Lender;
  SSL* ssl = SSL_new(accepts ? keys.impl_->lender.get() : keys.impl_->asker.get());
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    SSL_free(ssl);
    BIO_free(in);
    BIO_free(out);
    throw std::bad_alloc();
  }
  // The end of what is there is not the end of the connection.
  BIO_set_mem_eof_return(in, -1);
  BIO_set_mem_eof_return(out, -1);
  SSL_set_bio(ssl, in, out);
  accepts ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
  ssl_.reset(ssl);
}

Result<void> TlsStream::feed(std::string_view bytes) {
  const int taken =
      BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  if (taken != static_cast<int>(bytes.size())) return fail("no memory for what was received");
  return {};
}

// What OpenSSL returned, if it is more than that it has to wait.
Result<void> TlsStream::outcome(int returned, std::string_view what) {
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_NONE:
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {};
    case SSL_ERROR_ZERO_RETURN:
      over_ = true;
      return {};
    default:
      return fail_tls(what);
  }
}

Result<void> TlsStream::shake_hands() {
  ERR_clear_error();
  const int returned = SSL_do_handshake(ssl_.get());
  if (returned == 1) {
    open_ = true;
    return {};
  }
  auto done = outcome(returned, "no agreement on TLS");
  const long verified = SSL_get_verify_result(ssl_.get());
  if (!done && verified != X509_V_OK)
    return fail(fmt::format("its certificate is not accepted: {}",
                            X509_verify_cert_error_string(verified)));
  return done;
}

Result<void> TlsStream::read(std::string& plain, size_t most) {
  if (!open_)
    if (auto done = shake_hands(); !done || !open_) return done;
  std::array<char, 16 << 10> buffer;
  while (plain.size() < most) {
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), buffer.data(), buffer.size());
    if (got <= 0) return outcome(got, "what came is not TLS");
    plain.append(buffer.data(), static_cast<size_t>(got));
  }
  return {};
}

Result<void> TlsStream::write(std::string_view plain) {
  ERR_clear_error();
  if (plain.empty()) return {};
  const int put = SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size()));
  return put > 0 ? Result<void>{} : fail_tls("cannot write");
}

std::string TlsStream::take_output() {
  BIO* out = SSL_get_wbio(ssl_.get());
  std::string bytes(BIO_ctrl_pending(out), '\0');
  if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

}  // namespace slogate
