// SPDX-License-Identifier: Apache-2.0
// Certificates of authorities that live as long as a test.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "agent/config/peers_config.h"

namespace slogate {

// In a directory of its own, which goes with it.
class TestCertificates {
 public:
  TestCertificates() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "slogate-peers-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no directory");
    directory_ = pattern;
  }
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;
  ~TestCertificates() { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }

  // A certificate of `name`, signed by `authority`, which is made if there is none.
  PeerTls issue(const std::string& authority, const std::string& name) {
    if (!authorities_.contains(authority)) {
      Identity& made = authorities_[authority];
      made.key.reset(EVP_EC_gen("P-256"));
      made.certificate = certificate(authority, made.key.get(), authority, made.key.get());
      write(authority + ".crt", made.certificate.get());
    }
    const Identity& signer = authorities_[authority];
    const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
    const auto issued = certificate(name, key.get(), authority, signer.key.get());
    write(name + ".crt", issued.get());
    std::FILE* file = std::fopen(path(name + ".pem").c_str(), "w");
    PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    return {
        .cert = path(name + ".crt"), .key = path(name + ".pem"), .ca = path(authority + ".crt")};
  }

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
  struct Identity {
    Key key{nullptr, &EVP_PKEY_free};
    Certificate certificate{nullptr, &X509_free};
  };

  static Certificate certificate(const std::string& name, EVP_PKEY* key, const std::string& issuer,
                                 EVP_PKEY* issuer_key) {
    constexpr long hour = 3600;
    Certificate made(X509_new(), &X509_free);
    X509* to = made.get();
    X509_set_version(to, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(to), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(to), -hour);
    X509_gmtime_adj(X509_getm_notAfter(to), hour);
    X509_set_pubkey(to, key);
    set_name(X509_get_subject_name(to), name);
    set_name(X509_get_issuer_name(to), issuer);
    // Who signs is an authority only where its certificate says so.
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> basic(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints,
                            name == issuer ? "critical,CA:TRUE" : "CA:FALSE"),
        &X509_EXTENSION_free);
    X509_add_ext(to, basic.get(), -1);
    X509_sign(to, issuer_key, EVP_sha256());
    return made;
  }
  static void set_name(X509_NAME* to, const std::string& name) {
    X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  }
  void write(const std::string& name, X509* certificate) const {
    std::FILE* file = std::fopen(path(name).c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
  }

  static inline long serial = 0;
  std::filesystem::path directory_;
  std::map<std::string, Identity> authorities_;
};

}  // namespace slogate
