// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/kubernetes/api.h"
#include "maps/error.h"

namespace slogate {

// What one answer can take from us.
struct TransportLimits {
  size_t line_bytes = size_t{4} << 20;   // of a watch; etcd takes objects of 1.5 MB
  size_t body_bytes = size_t{32} << 20;  // a page of 500 pods of 64 KB
  std::chrono::seconds connect{10};
  // A page that comes slower than so many bytes a second for so long will not come.
  // Waiting for the first byte counts: a large cluster takes its time for a list.
  long slow_bytes = 256;
  std::chrono::seconds slow{30};
};

// Calls over HTTP/1.1 or, with TLS where the server speaks it, HTTP/2: then all share a connection.
// The token's file is read for each call, so that a rotated one counts at once.
class Transport : public ApiCaller {
 public:
  // `server` as in KubernetesAccess.
  static Result<std::unique_ptr<Transport>> make(std::string server, std::string token_file,
                                                 std::string ca_file,
                                                 const TransportLimits& limits = {});
  ~Transport() override;

  Id start(ApiCall call, ApiHandlers handlers) override;
  void cancel(Id id) override;
  // Waits for something to happen, at most so long, and calls the handlers of what did.
  void run(std::chrono::milliseconds longest);
  // Ends run(); from any thread.
  void wake();

 private:
  class Impl;
  explicit Transport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slogate
