// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/token_review.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/text.h"
#include "agent/kubernetes/token.h"

namespace slogate {
namespace {

// Who waits for it is a connection that nobody trusts yet.
constexpr std::chrono::seconds kReviewLimit{4};

bool has_our_audience(const std::vector<std::string>& audiences) {
  return std::ranges::find(audiences, kPeerAudience) != audiences.end();
}

bool is_away(const ApiAnswer& answer) {
  return answer.end != ApiAnswer::End::Whole || answer.status >= 500 || answer.status == 429;
}

std::string review_of(const std::string& token) {
  const ApiJson review = {
      {"apiVersion", "authentication.k8s.io/v1"},
      {"kind", "TokenReview"},
      {"spec", {{"token", token}, {"audiences", ApiJson::array({kPeerAudience})}}}};
  return review.dump();
}

}  // namespace

TokenReviews::~TokenReviews() {
  for (const Question& question : questions_)
    if (question.call) world_.caller->cancel(*question.call);
}

// Whose it has to be, which is what this agent itself is.
Result<std::string> TokenReviews::plausible(const std::string& token) const {
  const auto own = own_token_();
  if (!own) return fail(own.error());
  const auto ours = parse_token(*own);
  if (!ours || ours->subject.empty()) return fail("this agent's own token is none");
  const auto claims = parse_token(token);
  if (!claims) return fail("it is no token");
  if (claims->subject != ours->subject || !has_our_audience(claims->audiences))
    return fail(fmt::format("it is no token of {} for {}", for_log(ours->subject), kPeerAudience));
  const auto now = world_.clock().wall.time_since_epoch();
  if (claims->expires.count() != 0 && claims->expires <= now) return fail("it has expired");
  return ours->subject;
}

bool TokenReviews::believed(const std::string& token, std::chrono::seconds for_long) const {
  const auto found = known_.find(token);
  return found != known_.end() && world_.clock().steady - found->second < for_long;
}

void TokenReviews::check(std::string token, TokenVerdict verdict) {
  if (const auto subject = plausible(token); !subject) return verdict(fail(subject.error()));
  if (believed(token, kBelieved)) return verdict({});
  const auto same = std::ranges::find(questions_, token, &Question::token);
  const bool asked = same != questions_.end();
  if ((asked ? same->verdicts.size() : questions_.size()) >= kMostWaiting)
    return verdict(fail("too many others are asked about"));
  if (asked)
    same->verdicts.push_back(std::move(verdict));
  else
    questions_.push_back({.token = std::move(token), .verdicts = {std::move(verdict)}});
}

SteadyTime TokenReviews::step() {
  auto busy = static_cast<size_t>(
      std::ranges::count_if(questions_, [](const Question& one) { return one.call.has_value(); }));
  for (Question& question : questions_) {
    if (busy >= kMostCalls) break;
    if (question.call) continue;
    ++busy;
    start(question);
  }
  return kNever;  // an answer wakes us
}

void TokenReviews::start(Question& question) {
  question.call =
      world_.caller->start({.method = "POST",
                            .target = "/apis/authentication.k8s.io/v1/tokenreviews",
                            .body = review_of(question.token),
                            .content_type = "application/json",
                            .limit = kReviewLimit},
                           {.done = [this, token = question.token](const ApiAnswer& answer) {
                             answered(token, answer);
                           }});
}

void TokenReviews::answered(const std::string& token, const ApiAnswer& answer) {
  const auto found = std::ranges::find(questions_, token, &Question::token);
  if (found == questions_.end()) return;
  const Question question = std::move(*found);
  questions_.erase(found);
  const Result<void> result = judge(token, answer);
  for (const TokenVerdict& verdict : question.verdicts) verdict(result);
}

Result<void> TokenReviews::judge(const std::string& token, const ApiAnswer& answer) {
  if (!answer.good()) {
    const Failure failure = to_failure(answer, "create", "tokenreviews");
    trouble_.failed(failure, world_.clock().wall);
    if (is_away(answer) && believed(token, kBelievedWhileAway)) return {};
    return fail(fmt::format("nobody can tell whether it is good: {}", failure.what));
  }
  trouble_.well();
  const auto object = parse_object(answer.body);
  const TokenReview review = object ? to_token_review(*object) : TokenReview{};
  const auto own = plausible(token);
  if (!own) return fail(own.error());
  if (!review.authenticated || review.user != *own || !has_our_audience(review.audiences)) {
    known_.erase(token);
    return fail("the API server does not know it");
  }
  remember(token);
  return {};
}

void TokenReviews::remember(const std::string& token) {
  const SteadyTime now = world_.clock().steady;
  std::erase_if(known_,
                [now](const auto& pair) { return now - pair.second >= kBelievedWhileAway; });
  if (known_.size() >= kMostKnown)
    known_.erase(
        std::ranges::min_element(known_, {}, [](const auto& pair) { return pair.second; }));
  known_.insert_or_assign(token, now);
}

}  // namespace slogate
