// SPDX-License-Identifier: Apache-2.0
// Whether a token that somebody shows is one of an agent's: asked of the API server, which alone
// knows what it has signed and withdrawn.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/kubernetes/api.h"
#include "agent/kubernetes/trouble.h"
#include "maps/error.h"

namespace slogate {

// Whom tokens that agents show each other are made for: the API server itself takes none of these,
// so whoever was shown one can do nothing with it but ask an agent.
inline constexpr std::string_view kPeerAudience = "slogate";

// Called once, with why it was refused if it was.
using TokenVerdict = std::function<void(Result<void>)>;

class TokenReviews {
 public:
  // A token that was good is believed for so long; and so long while the API server is away, which
  // must not take an agent that was there before from its peers.
  static constexpr std::chrono::seconds kBelieved{60};
  static constexpr std::chrono::minutes kBelievedWhileAway{10};
  // Whatever strangers send, these bound what it costs.
  static constexpr size_t kMostWaiting = 64, kMostCalls = 4, kMostKnown = 512;

  // `own_token`: the one that this agent shows others, which says whose are to be taken. It is read
  // with each question, as it is rotated.
  TokenReviews(World world, std::function<Result<std::string>()> own_token)
      : world_(std::move(world)), own_token_(std::move(own_token)) {}
  TokenReviews(const TokenReviews&) = delete;
  TokenReviews& operator=(const TokenReviews&) = delete;
  ~TokenReviews();

  // May answer from within. What the token itself claims is looked at first, so that only what may
  // be an agent's costs a call.
  void check(std::string token, TokenVerdict verdict);
  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  [[nodiscard]] const std::string& problem() const { return trouble_.text(); }

 private:
  struct Question {
    std::string token;
    std::vector<TokenVerdict> verdicts;
    std::optional<ApiCaller::Id> call = {};
  };
  [[nodiscard]] Result<std::string> plausible(const std::string& token) const;
  [[nodiscard]] bool believed(const std::string& token, std::chrono::seconds for_long) const;
  void start(Question& question);
  void answered(const std::string& token, const ApiAnswer& answer);
  [[nodiscard]] Result<void> judge(const std::string& token, const ApiAnswer& answer);
  void remember(const std::string& token);

  World world_;
  std::function<Result<std::string>()> own_token_;
  // Since when each is known to be good. Tokens and not their hashes: 512 of 1 KB are not worth a
  // hash that nobody can forge.
  std::map<std::string, SteadyTime> known_;
  std::list<Question> questions_;  // as they came
  Trouble trouble_;
};

}  // namespace slogate
