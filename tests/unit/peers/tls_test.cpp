// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/peers/certificates.h"

namespace slogate {
namespace {

using testing::HasSubstr;

class Tls : public ::testing::Test {
 protected:
  PeerSecurity shared_key(const std::string& name, const std::string& content) {
    std::ofstream(files_.path(name)) << content;
    return {.tls = std::nullopt, .key_file = files_.path(name)};
  }

  TestCertificates files_;
};

// Everything that each has to say goes to the other until nobody has any more.
Result<void> converse(TlsStream& a, TlsStream& b, std::string& said_to_a, std::string& said_to_b) {
  for (int round = 0; round < 20; ++round) {
    if (auto done = a.read(said_to_a, 1 << 20); !done) return done;
    const std::string to_b = a.take_output();
    if (auto done = b.feed(to_b); !done) return done;
    const auto read = b.read(said_to_b, 1 << 20);
    const std::string to_a = b.take_output();
    if (auto done = a.feed(to_a); !done) return done;
    if (!read) return read;
    if (to_a.empty() && to_b.empty()) return {};
  }
  return {};
}

// What became of a handshake between the two, and whether words arrive after it.
std::string meet(const TlsKeys& asker_keys, const TlsKeys& lender_keys) {
  TlsStream asker(asker_keys, TlsStream::Side::Asker), lender(lender_keys, TlsStream::Side::Lender);
  std::string to_asker, to_lender;
  if (auto done = converse(asker, lender, to_asker, to_lender); !done) return done.error().message;
  if (!asker.is_open() || !lender.is_open()) return "not open";
  if (auto done = asker.write("question"); !done) return done.error().message;
  if (auto done = lender.write("answer"); !done) return done.error().message;
  if (auto done = converse(asker, lender, to_asker, to_lender); !done) return done.error().message;
  return to_lender + ", " + to_asker;
}

TEST_F(Tls, ASharedKeyIsEnough) {
  const auto keys = TlsKeys::read(shared_key("key", std::string(64, 'a') + "\n"));
  ASSERT_TRUE(keys) << keys.error().line();
  EXPECT_EQ(meet(*keys, *keys), "question, answer");
}

// One may have written it in upper case, or without the end of the line.
TEST_F(Tls, HexadecimalIsTheSameHoweverItIsWritten) {
  const std::string digits = "00112233445566778899aabbccddeeff0123456789abcdef0123456789ABCDEF";
  std::string upper = digits;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(meet(*TlsKeys::read(shared_key("a", digits)),
                 *TlsKeys::read(shared_key("b", upper + "\r\n"))),
            "question, answer");
}

TEST_F(Tls, AnotherKeyGetsNothing) {
  const auto ours = TlsKeys::read(shared_key("a", std::string(64, 'a')));
  const auto other = TlsKeys::read(shared_key("b", std::string(64, 'b')));
  EXPECT_NE(meet(*other, *ours), "question, answer");
  EXPECT_NE(meet(*ours, *other), "question, answer");
}

TEST_F(Tls, CertificatesOfOneAuthorityAreEnough) {
  const auto ours = TlsKeys::read({.tls = files_.issue("ca", "a"), .key_file = ""});
  ASSERT_TRUE(ours) << ours.error().line();
  const auto theirs = TlsKeys::read({.tls = files_.issue("ca", "b"), .key_file = ""});
  EXPECT_EQ(meet(*ours, *theirs), "question, answer");
}

TEST_F(Tls, CertificatesOfAnotherAuthorityGetNothing) {
  const auto ours = TlsKeys::read({.tls = files_.issue("ca", "a"), .key_file = ""});
  const auto other = TlsKeys::read({.tls = files_.issue("other", "b"), .key_file = ""});
  ASSERT_TRUE(ours && other);
  EXPECT_THAT(meet(*ours, *other), HasSubstr("certificate"));
  EXPECT_THAT(meet(*other, *ours), HasSubstr("certificate"));
}

// One who has the certificate of our authority, but of it none for itself.
TEST_F(Tls, WithoutACertificateNobodyGetsAnything) {
  const PeerTls tls = files_.issue("ca", "a");
  const PeerTls fake = files_.issue("other", "b");
  const auto ours = TlsKeys::read({.tls = tls, .key_file = ""});
  const auto half = TlsKeys::read({.tls = PeerTls{fake.cert, fake.key, tls.ca}, .key_file = ""});
  ASSERT_TRUE(ours && half);
  EXPECT_NE(meet(*half, *ours), "question, answer");
}

TEST_F(Tls, AKeyAndCertificatesDoNotGoTogether) {
  const auto key = TlsKeys::read(shared_key("key", std::string(64, 'a')));
  const auto certified = TlsKeys::read({.tls = files_.issue("ca", "a"), .key_file = ""});
  EXPECT_NE(meet(*key, *certified), "question, answer");
  EXPECT_NE(meet(*certified, *key), "question, answer");
}

// On Kubernetes who asks has a token, which comes later, and need not have a certificate.
TEST_F(Tls, WithTokensTheLenderAloneNeedsACertificate) {
  const PeerTls tls = files_.issue("ca", "a");
  const auto lender = TlsKeys::read({.tls = tls, .key_file = ""}, true);
  const auto asker = TlsKeys::read({.tls = files_.issue("ca", "b"), .key_file = ""});
  ASSERT_TRUE(lender && asker);
  EXPECT_EQ(meet(*asker, *lender), "question, answer");
}

TEST_F(Tls, GarbageIsRefused) {
  const auto keys = TlsKeys::read(shared_key("key", std::string(64, 'a')));
  TlsStream lender(*keys, TlsStream::Side::Lender);
  std::string plain;
  ASSERT_TRUE(lender.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(lender.read(plain, 100));
  EXPECT_EQ(plain, "");
}

TEST_F(Tls, SaysWhatIsWrongWithAKey) {
  const auto problem = [&](const std::string& content) {
    const auto key = parse_shared_key(content);
    return key ? "" : key.error().line();
  };
  EXPECT_EQ(problem(std::string(64, '0')), "");
  EXPECT_EQ(problem(std::string("\0\1\2\3", 4) + std::string(28, 'x')), "");
  EXPECT_THAT(problem("short\n"), HasSubstr("the key has 6 bytes (write at least 32"));
  EXPECT_THAT(problem(std::string(40, 'a')), HasSubstr("40 hexadecimal digits"));
  EXPECT_THAT(problem(""), HasSubstr("0 bytes"));
}

TEST_F(Tls, SaysWhichFileIsWrong) {
  const auto missing = TlsKeys::read({.tls = std::nullopt, .key_file = files_.path("none")});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().line(), HasSubstr("none: cannot open"));
  PeerTls tls = files_.issue("ca", "a");
  tls.key = files_.issue("ca", "b").key;
  const auto other = TlsKeys::read({.tls = tls, .key_file = ""});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().line(), HasSubstr("cannot use the key " + tls.key));
}

}  // namespace
}  // namespace slogate
