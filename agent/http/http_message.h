// SPDX-License-Identifier: Apache-2.0
// Requests and answers as values: what a handler sees of HTTP, without sockets.
#pragma once

#include <linux/types.h>
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "maps/abi.h"
#include "maps/error.h"

namespace slogate {

// Who is at the other end of a Unix socket, as the kernel saw it at connect().
struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

// What a request asks for: `path` is percent-decoded and starts with "/", `query` holds the decoded
// pairs in their order, "+" read as a space.
struct HttpTarget {
  std::string path;
  Pairs query;
};

// Refuses what does not start with "/", escapes that are none, and control characters.
Result<HttpTarget> parse_target(std::string_view target);

// One request. HEAD arrives as GET: the server leaves out the body of the answer.
struct HttpRequest {
  std::string method, path;
  Pairs query;
  std::string body;
  std::string accept, accept_encoding;         // "" where the header is missing
  std::optional<Peer> peer;                    // nothing over TCP
  std::optional<slogate_address> client = {};  // whose connection it is; nothing over a Unix socket
  std::string host = {};                       // as the client wrote it, "" where it did not
  bool forwarded = false;  // whether a proxy says that it asks for somebody else
};

// One answer. Nothing of a request may stand in `headers`: their values are sent as they are.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  Pairs headers = {};
  // Where it is set, the answer goes on after `body`: called every now and then for what to send
  // next, "" for nothing yet, until the client leaves or it gives nothing at all.
  std::function<std::optional<std::string>()> more = {};
};

// {"error": message}. The message is escaped, so it may quote the request.
HttpResponse error_response(int status, std::string_view message);

// 405; `allow` lists the methods that would do, e.g. "GET, HEAD".
HttpResponse method_not_allowed(std::string_view allow);

}  // namespace slogate
