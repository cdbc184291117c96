// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/rules.h"

#include <algorithm>
#include <cmath>
#include <ranges>
#include <set>
#include <span>

#include "agent/base/figures.h"
#include "agent/base/tick_time.h"
#include "agent/canary/hypotheses.h"
#include "agent/config/config.h"
#include "maps/tables.h"

namespace slogate::cli {
namespace {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

std::string pooled(std::string_view name) {
  return fmt::format("slo:slogate_pooled_{}", name);
}

// A string of PromQL, on one line whatever is in it.
std::string literal(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
      continue;
    }
    if (c == '\\' || c == '\'') result += '\\';
    result += c;
  }
  return result + "'";
}

std::string regex_of(const Selector& selector) {
  std::string regex;
  for (const Glob& glob : std::get<std::vector<Glob>>(selector))
    regex += (regex.empty() ? "" : "|") + glob.to_regex();
  return regex;
}

bool is_compared(const Slo& slo) {
  return slo.baseline && !slo.port;  // no metric tells ports apart
}

std::string namespace_of(const Selector& selector) {
  if (const auto* pods = std::get_if<PodSelector>(&selector)) return pods->namespace_;
  if (const auto* track = std::get_if<TrackSelector>(&selector)) return track->namespace_;
  return "";
}

// Of the comparisons nobody asked for only those of pooled signals.
bool is_pooled(const Hypothesis& hypothesis) {
  return !hypothesis.absolute && (!hypothesis.implied || kJudged[hypothesis.signal].pooled);
}

// ---- PromQL of a sum of counters ----

// "role, error": the labels that a family has beside the workload's.
std::string labels_of(std::string_view family) {
  if (family == kDropsFamily) return std::string(kDropsLabel);
  const auto* row = std::ranges::find(kCounters, family, &CounterInfo::family);
  std::string text;
  for (const CounterLabel& label : row->labels)
    if (!label.name.empty()) text += fmt::format("{}{}", text.empty() ? "" : ", ", label.name);
  return text;
}

// The matchers of a term's own labels, each with a comma behind it.
std::string matchers_of(const CounterTerm& term) {
  std::string text;
  for (const auto& [label, value] : term.labels())
    if (!label.empty()) text += fmt::format("{}='{}',", label, value);
  return text;
}

// One value for each workload of `series`, at an offset.
std::string term_of(const CounterTerm& term, std::string_view series, std::string_view offset) {
  return fmt::format("sum without ({}) (slogate_{}_total{{{}{}}}{})", labels_of(term.family),
                     term.family, matchers_of(term), series, offset);
}

// The same, 0 for workloads that have only a series of `base`: what has not happened yet may have
// none.
std::string term_or_zero(const CounterTerm& term, std::string_view series, std::string_view offset,
                         const CounterTerm& base) {
  return fmt::format("({} or 0 * {})", term_of(term, series, offset),
                     term_of(base, series, offset));
}

std::string events_of(const JudgedSignal& ratio, std::string_view series, std::string_view offset) {
  std::string text;
  for (const CounterTerm& term : ratio.events)
    text += (text.empty()      ? ""
             : term.subtracted ? " - "
                               : " + ") +
            term_or_zero(term, series, offset, base_of(ratio));
  return ratio.events.size() == 1 ? text : fmt::format("({})", text);
}

// Those of a ratio's exposures that `takes` is true of.
template <typename F>
std::string exposures_of(const JudgedSignal& ratio, std::string_view series,
                         std::string_view offset, const F& takes) {
  const CounterTerm& base = base_of(ratio);
  std::string text;
  for (const CounterTerm& term : ratio.exposures) {
    if (!takes(term)) continue;
    const bool is_base = &term == &base;
    text += (text.empty()      ? ""
             : term.subtracted ? " - "
                               : " + ") +
            (is_base ? term_of(term, series, offset) : term_or_zero(term, series, offset, base));
  }
  return ratio.exposures.size() == 1 ? text : fmt::format("({})", text);
}

// `series` are the label matchers of all that may belong to the arm, and `members`, to be put
// behind an expression over them, leaves those that do.
struct Arm {
  std::string_view name;
  std::string series, members = {};
};

// Cgroups are told by their paths. What pods are of an arm only the agents know, and say.
Arm to_arm(const FleetSlo& of, std::string_view name, const Selector& selector) {
  const Slo& slo = of.slo;
  if (std::holds_alternative<std::vector<Glob>>(selector) && !slo.container)
    return {name, fmt::format("cgroup=~{}", literal(regex_of(selector)))};
  std::string series;
  const auto match = [&series](std::string_view label, std::string_view with,
                               const std::string& text) {
    if (text.empty()) return;
    series += fmt::format("{}{}{}{}", series.empty() ? "" : ",", label, with, literal(text));
  };
  match("namespace", "=", namespace_of(selector));
  match("pod", "=~", of.pod_names);
  match("container", "=", slo.container.value_or(""));
  return {name, series,
          fmt::format(" and on (namespace, pod, container) slogate_slo_workload{{slo={},arm={}}}",
                      literal(slo.name), literal(name))};
}

// The rules of one SLO, in the order in which they need each other.
class PooledRules {
 public:
  PooledRules(const FleetSlo& of, std::chrono::milliseconds interval)
      : slo_(of.slo),
        before_(fmt::format(" offset {}ms", interval.count())),
        settled_(fmt::format(
            " offset {}ms",
            (interval + std::chrono::ceil<std::chrono::milliseconds>(slo_.warmup)).count())),
        arms_{to_arm(of, "canary", slo_.canary), to_arm(of, "baseline", *slo_.baseline)} {
    if (arms_[0].members.empty() && arms_[1].members.empty())
      arms_[1].series += fmt::format(",cgroup!~{}", literal(regex_of(slo_.canary)));
  }

  // For people to look at.
  void add_quantiles() {
    for (const Arm& arm : arms_)
      now_and_then_.push_back(
          {{"record", "slo:slogate_request_duration_seconds:p99_5m"},
           {"expr",
            fmt::format("histogram_quantile(0.99, sum(rate("
                        "slogate_request_duration_seconds{{role='server',{}}}[5m]){})) >= 0",
                        arm.series, arm.members)},
           {"labels", {{"slo", slo_.name}, {"arm", arm.name}}}});
  }

  void add(const Hypothesis& hypothesis, std::span<const double> weights) {
    const bool latency = is_latency(hypothesis.signal);
    const double margin = latency ? 0 : hypothesis.implied ? kVetoIncrease : hypothesis.bound;
    record("margin", hypothesis, {}, fmt::format("vector({})", margin));
    for (size_t level = 0; level < hypothesis.levels.size(); ++level)
      record("weight", hypothesis, level_label(hypothesis, level),
             fmt::format("vector({})", weights[level * Grid{}.size()]));
    latency ? add_latency(hypothesis) : add_ratio(hypothesis);
  }

  [[nodiscard]] const Json& rules() const { return rules_; }
  // Those of which it is enough to be evaluated now and then, before the others need them.
  [[nodiscard]] const Json& now_and_then() const { return now_and_then_; }

 private:
  static Labels level_label(const Hypothesis& hypothesis, size_t level) {
    if (!is_latency(hypothesis.signal)) return {};
    return {{"level", quantile_text(hypothesis.levels[level].quantile)}};
  }

  [[nodiscard]] Json rule(std::string_view name, const Hypothesis& hypothesis, const Labels& labels,
                          std::string expr) const {
    Json all = {{"slo", slo_.name}, {"objective", hypothesis.name}};
    for (const auto& [label, value] : labels) all[label] = value;
    return {{"record", pooled(name)}, {"expr", std::move(expr)}, {"labels", all}};
  }
  void record(std::string_view name, const Hypothesis& hypothesis, const Labels& labels,
              std::string expr) {
    rules_.push_back(rule(name, hypothesis, labels, std::move(expr)));
  }

  // By how much cumulative counts grew in this block, of those that were there before the warm-up,
  // as the series `settled` were. Differences of samples, not increase(): what that extrapolates
  // would count as evidence. Without a warm-up the difference alone leaves out what was not there
  // before.
  template <typename F>
  [[nodiscard]] std::string growth(const Arm& arm, const F& counts,
                                   std::string_view settled) const {
    const std::string there = settled_ == before_ ? "" : fmt::format(" and {}", settled);
    return fmt::format("sum(clamp_min({} - {}, 0){}{})", counts(""), counts(before_), there,
                       arm.members);
  }

  // Requests that ended without an answer were slower than any edge.
  [[nodiscard]] std::string unanswered(const Hypothesis& hypothesis, const Arm& arm) const {
    if (!kJudged[hypothesis.signal].answers) return "";
    const std::string_view role = kSignals[hypothesis.signal].role;
    const std::string series =
        fmt::format("slogate_unanswered_requests_total{{role='{}',{}}}", role, arm.series);
    const auto counts = [&](std::string_view offset) {
      return fmt::format("{}{}", series, offset);
    };
    return fmt::format(" + ({} or vector(0))", growth(arm, counts, counts(settled_)));
  }

  void add_latency(const Hypothesis& hypothesis) {
    const auto histogram = [&](const Arm& arm) {
      return histogram_of(kSignals[hypothesis.signal], arm);
    };
    for (const Arm& arm : arms_) {
      const auto counts = [&](std::string_view offset) {
        return fmt::format("histogram_count({}{})", histogram(arm), offset);
      };
      record("exposures", hypothesis, with_arm({}, arm),
             growth(arm, counts, histogram(arm) + settled_) + unanswered(hypothesis, arm));
    }
    // An hour of every pod's histograms is the dearest thing there is to read.
    now_and_then_.push_back(rule(
        "history", hypothesis, {},
        fmt::format("sum(increase({}[1h]{}){})", histogram(arms_[1]), before_, arms_[1].members)));
    for (size_t level = 0; level < hypothesis.levels.size(); ++level) {
      const Labels label = level_label(hypothesis, level);
      add_edges(hypothesis, label, hypothesis.levels[level].quantile);
      for (const Arm& arm : arms_) add_slow(hypothesis, label, arm, histogram(arm));
    }
  }

  [[nodiscard]] std::string series(std::string_view name, const Hypothesis& hypothesis,
                                   const Labels& labels) const {
    std::string text = fmt::format("{}{{slo={},objective={}", pooled(name), literal(slo_.name),
                                   literal(hypothesis.name));
    for (const auto& [label, value] : labels) text += fmt::format(",{}={}", label, literal(value));
    return text + "}";
  }

  static Labels with_arm(Labels labels, const Arm& arm) {
    labels.emplace_back("arm", arm.name);
    return labels;
  }

  // The bucket's edge at or above a value; what is an edge but for rounding stays one.
  static std::string edge_above(std::string_view value) {
    return fmt::format("2 ^ (ceil(8 * log2({}) - 1e-6) / 8)", value);
  }

  // The baseline's edge from before this block, and the canary's beyond which it is worse.
  // Prometheus 2.42 drops a recorded histogram whose buckets add up to more than its count, be it
  // by rounding; the edge of a minute ago is as good.
  void add_edges(const Hypothesis& hypothesis, const Labels& label, double quantile) {
    const std::string history = series("history", hypothesis, {});
    const std::string edge = series("edge", hypothesis, with_arm(label, arms_[1]));
    const std::string is_there = series("exposures", hypothesis, with_arm({}, arms_[1]));
    now_and_then_.push_back(
        rule("edge", hypothesis, with_arm(label, arms_[1]),
             fmt::format("({} and histogram_count({}) * {:.6g} >= {}) or on () ({} and on () {})",
                         edge_above(fmt::format("histogram_quantile({}, {})", quantile, history)),
                         history, 1 - quantile, kTailSamples, edge, is_there)));
    const double increase =
        hypothesis.implied ? least_increase(hypothesis.signal) : hypothesis.bound;
    std::string allowed = fmt::format("{} + {}", edge, increase);
    if (hypothesis.implied)
      allowed = fmt::format("clamp_min({}, scalar({} * {}))", allowed, edge,
                            std::exp2(kVetoStretch / 8.0));
    now_and_then_.push_back(
        rule("edge", hypothesis, with_arm(label, arms_[0]), edge_above(allowed)));
  }

  void add_slow(const Hypothesis& hypothesis, const Labels& label, const Arm& arm,
                std::string_view histogram) {
    const std::string edge = series("edge", hypothesis, with_arm(label, arm));
    const auto counts = [&](std::string_view offset) {
      const std::string then = fmt::format("{}{}", histogram, offset);
      return fmt::format("histogram_count({}) * (1 - histogram_fraction(-Inf, scalar({}), {}))",
                         then, edge, then);
    };
    record("events", hypothesis, with_arm(label, arm),
           fmt::format("({}{}) and on () {}",
                       growth(arm, counts, fmt::format("{}{}", histogram, settled_)),
                       unanswered(hypothesis, arm), edge));
  }

  void add_ratio(const Hypothesis& hypothesis) {
    const JudgedSignal& ratio = kJudged[hypothesis.signal];
    for (const Arm& arm : arms_) {
      const auto events = [&](std::string_view offset) {
        return events_of(ratio, arm.series, offset);
      };
      const auto exposures = [&](std::string_view offset) {
        return exposures_of(ratio, arm.series, offset, [](const CounterTerm&) { return true; });
      };
      const std::string settled = term_of(base_of(ratio), arm.series, settled_);
      record("events", hypothesis, with_arm({}, arm), growth(arm, events, settled));
      record("exposures", hypothesis, with_arm({}, arm),
             growth(arm, exposures, settled) + where_known(ratio, arm));
    }
  }

  // What leaves out a block in which too few outcomes are known; without its exposures no gain
  // follows from its events. As coverage() has it: of what was answered, requests or answers,
  // whichever are more; what was left unanswered says nothing of what can be read.
  [[nodiscard]] std::string where_known(const JudgedSignal& ratio, const Arm& arm) const {
    if (ratio.least_known == 0) return "";
    const SignalInfo& signal = kSignals[*ratio.answered_in];
    const std::string requests = histogram_of(signal, arm);
    const std::string settled = term_of(base_of(ratio), arm.series, settled_);
    const auto counts = [&](std::string_view offset) {
      return fmt::format("histogram_count({}{})", requests, offset);
    };
    const auto known = [&](std::string_view offset) {
      return exposures_of(ratio, arm.series, offset, [](const CounterTerm& term) {
        return term.family != slogate::unanswered("").family;
      });
    };
    const auto all = [&](std::string_view offset) {
      return term_or_zero(answers(signal.role), arm.series, offset, base_of(ratio));
    };
    return fmt::format(" and ({0} >= {1} * {2} >= {1} * ({3} or vector(0)))",
                       growth(arm, known, settled), ratio.least_known, growth(arm, all, settled),
                       growth(arm, counts, requests + settled_));
  }

  static std::string histogram_of(const SignalInfo& signal, const Arm& arm) {
    const std::string role = signal.role.empty() ? "" : fmt::format("role='{}',", signal.role);
    return fmt::format("{}{{{}{}}}", signal.metric, role, arm.series);
  }

  const Slo& slo_;
  std::string before_, settled_;  // "offset ..."
  std::array<Arm, 2> arms_;
  Json rules_ = Json::array(), now_and_then_ = Json::array();
};

// ---- what all SLOs share ----

// A template of PromQL as the one line that a rule has: without its "# ..." and its line breaks,
// which are blanks but for those behind a "(", and with a value for each {name}.
template <typename... Named>
std::string promql(std::string_view commented, const Named&... values) {
  std::string line;
  for (const auto row : std::views::split(commented, '\n')) {
    std::string_view text(row.begin(), row.end());
    text = text.substr(0, text.find('#'));
    const size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) continue;
    text = text.substr(first, text.find_last_not_of(' ') + 1 - first);
    line += (line.empty() || line.ends_with('(') ? "" : " ") + std::string(text);
  }
  return fmt::format(fmt::runtime(line), values...);
}

Json shared_rule(std::string_view name, std::string expr, Json labels = Json::object()) {
  Json rule = {{"record", std::string(name)}, {"expr", std::move(expr)}};
  if (!labels.empty()) rule["labels"] = std::move(labels);
  return rule;
}

// worse() of agent/canary/evidence.h with ratio 1, capped for later starts. With c = m / (m + l) it
// is
//   x log(r) - (x + y) log(1 + (r - 1) c) - (r - 1) increase l c / (1 + (r - 1) c).
Json gain_rule(double factor) {
  const bool of_latency = std::ranges::count(kLatencyGrid, factor) != 0;
  const bool of_ratio = std::ranges::count(kRareGrid, factor) != 0;
  const std::string which = of_latency && of_ratio ? "" : of_latency ? "level!=''" : "level=''";
  return shared_rule(
      "slo:slogate_pooled_gain",
      promql(R"(
        clamp_max(
          # x log(r)
          {log_r} * sum without (arm) (slo:slogate_pooled_events{{arm='canary'{and_which}}})
          # (x + y) log(1 + (r - 1) c)
          - sum without (arm) (slo:slogate_pooled_events{{{which}}})
            * on (slo, objective) group_left () ln{more}
          # (r - 1) increase l c / (1 + (r - 1) c)
          - on (slo, objective) group_left () ({r_less_1} * slo:slogate_pooled_cost / {more}),
          {cap}))",
             fmt::arg("log_r", std::log(factor)), fmt::arg("r_less_1", factor - 1),
             fmt::arg("more", fmt::format("(1 + {} * slo:slogate_pooled_share)", factor - 1)),
             fmt::arg("which", which), fmt::arg("and_which", which.empty() ? "" : "," + which),
             fmt::arg("cap", PooledStarts::kLaterCap)),
      {{"r", fmt::format("{:g}", factor)}});
}

// Slos of which every node that has the canary began another rollout.
Json rollout_rule(std::chrono::milliseconds interval) {
  return shared_rule("slo:slogate_pooled_rollout", promql(R"(
        group by (slo) (slogate_evidence_rollout)
        # ... but for those of which some node goes on with the one of before
        unless on (slo) (slogate_evidence_rollout
        and on (slo, revision) present_over_time(slogate_evidence_rollout[5m] offset {before}ms)))",
                                                          fmt::arg("before", interval.count())));
}

constexpr std::string_view kBlocks = "slo:slogate_pooled_blocks";

// How many blocks there were in this rollout.
Json blocks_rule() {
  return shared_rule(
      kBlocks,
      promql(R"(
        {before} + {one}
        or {before}  # nothing was to be compared in this block
        or {one}     # the first)",
             fmt::arg("before",
                      fmt::format("({} unless on (slo) slo:slogate_pooled_rollout)", kBlocks)),
             fmt::arg("one", "group by (slo) (slo:slogate_pooled_gain)")));
}

// How many nodes have counts that are not to be trusted: then a block says nothing against the
// canary.
Json doubt_rule() {
  return shared_rule("slo:slogate_pooled_doubt", promql(R"(
        count by (slo) (slogate_verdict_reason{{reason=~'samples_lost|multiplexed'}} == 1)
        or 0 * group by (slo) (slogate_verdict_reason))"));
}

// A sum as it was after the block before, of what is still judged, in this rollout.
std::string sum_before(std::string_view sum) {
  return promql(R"(
        ({sum} and on (slo, objective, level) slo:slogate_pooled_weight
        unless on (slo) slo:slogate_pooled_rollout))",
                fmt::arg("sum", sum));
}

std::string capped_gain(double cap) {
  return promql(R"(
        (clamp_max(slo:slogate_pooled_gain, {cap}) unless on (slo) slo:slogate_pooled_doubt > 0
        or clamp_max(slo:slogate_pooled_gain, 0)))",
                fmt::arg("cap", cap));
}

// What the starts that are still to come weigh together: left_for_later() after this block.
std::string left_for_later() {
  return fmt::format("({} / ({} + {}))", PooledStarts::kSpread * (1 - PooledStarts::kFirstWeight),
                     PooledStarts::kSpread - 1, kBlocks);
}

// Of each component the sum since the first block.
Json sum_rule() {
  constexpr std::string_view sum = "slo:slogate_pooled_sum";
  return shared_rule(
      sum, promql(R"(
        {gain} + {before}
        or {before}
        or {gain})",
                  fmt::arg("before", sum_before(sum)), fmt::arg("gain", capped_gain(kCap))));
}

// Of each component, from block to block, the log of sum(weight of start * exp(gains since)) over
// all later starts.
Json later_sum_rule() {
  constexpr std::string_view sum = "slo:slogate_pooled_later_sum";
  return shared_rule(
      sum, promql(R"(
        # The start that begins with this block joins those before it. exp() stays finite.
        {gain} + ln(exp(clamp_max({before}, 600))
          + on (slo) group_left () ({left} / ({spread_less_2} + {blocks})))
        or {before}
        # What has just come has had evidence of 1 so far.
        or {gain} + on (slo) group_left () ln({later} - {left}))",
                  fmt::arg("before", sum_before(sum)),
                  fmt::arg("gain", capped_gain(PooledStarts::kLaterCap)),
                  fmt::arg("left", left_for_later()),
                  fmt::arg("spread_less_2", PooledStarts::kSpread - 2), fmt::arg("blocks", kBlocks),
                  fmt::arg("later", 1 - PooledStarts::kFirstWeight)));
}

// The mixture over components and starts. Starts that are still to come count as evidence of 1, and
// so does weight of components that had no gain yet.
Json mixture_rule() {
  return shared_rule(
      "slo:slogate_evidence_log_e",
      promql(R"(
        ln(sum by (slo) ({weigh} (
          {first} * exp(clamp_max(slo:slogate_pooled_sum, 600))
          + exp(clamp_max(slo:slogate_pooled_later_sum, 600))
          + on (slo) group_left () {left}))
        + clamp_min(1 - sum by (slo) ({weigh} slo:slogate_pooled_sum ^ 0), 0)))",
             fmt::arg("weigh",
                      "slo:slogate_pooled_weight * on (slo, objective, level) group_right ()"),
             fmt::arg("first", PooledStarts::kFirstWeight), fmt::arg("left", left_for_later())),
      {{"test", "pooled"}});
}

// What follows from exposures and events of all SLOs.
Json shared_rules(std::chrono::milliseconds interval) {
  Json rules = Json::array();
  rules.push_back(shared_rule(
      "slo:slogate_pooled_share",
      "(slo:slogate_pooled_exposures{arm='canary'} > 0) / on (slo, objective) (sum without (arm) "
      "(slo:slogate_pooled_exposures) and on (slo, objective) "
      "slo:slogate_pooled_exposures{arm='baseline'} > 0)"));
  rules.push_back(
      shared_rule("slo:slogate_pooled_cost",
                  "slo:slogate_pooled_margin * slo:slogate_pooled_share * on (slo, objective) "
                  "slo:slogate_pooled_exposures{arm='baseline'}"));
  std::set<double> factors(kLatencyGrid.begin(), kLatencyGrid.end());
  factors.insert(kRareGrid.begin(), kRareGrid.end());
  for (const double factor : factors) rules.push_back(gain_rule(factor));
  // From gains to their mixture.
  for (Json& rule : std::vector<Json>{rollout_rule(interval), blocks_rule(), doubt_rule(),
                                      sum_rule(), later_sum_rule(), mixture_rule()})
    rules.push_back(std::move(rule));
  return rules;
}

PooledRules rules_of(const FleetSlo& of, std::chrono::milliseconds interval) {
  std::vector<Hypothesis> pooled = to_hypotheses(of.slo);
  std::erase_if(pooled, [](const Hypothesis& hypothesis) { return !is_pooled(hypothesis); });
  const Hypotheses hypotheses(std::move(pooled));
  std::array<bool, kJudgedSignals> active{};
  active.fill(true);
  const std::vector<double> weights = to_mixture_weights(hypotheses, active);
  PooledRules rules(of, interval);
  rules.add_quantiles();
  for (const Hypotheses::Entry& one : hypotheses.entries())
    rules.add(one.hypothesis, one.components.of(weights));
  return rules;
}

// Often enough for the first edges of a new baseline, and well within the five minutes for which
// Prometheus remembers them.
std::chrono::milliseconds edges_interval(std::chrono::milliseconds interval) {
  return std::max<std::chrono::milliseconds>(
      interval, std::min<std::chrono::milliseconds>(12 * interval, std::chrono::seconds(60)));
}

Json group(std::string_view name, std::chrono::milliseconds interval, Json rules) {
  return {{"name", name},
          {"interval", fmt::format("{}ms", interval.count())},
          {"rules", std::move(rules)}};
}

}  // namespace

Json to_rules(const std::vector<FleetSlo>& slos, std::chrono::milliseconds interval) {
  Json rules = Json::array(), edges = Json::array();
  bool any = false;
  const auto append = [](Json& to, const Json& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  for (const FleetSlo& of : slos) {
    const Slo& slo = of.slo;
    const bool compared = is_compared(slo);
    // The test over nodes and the pooled one share alpha.
    rules.push_back(shared_rule("slo:slogate_evidence_threshold",
                                fmt::format("vector({})", std::log((compared ? 2 : 1) / slo.alpha)),
                                {{"slo", slo.name}}));
    any = any || compared;
    if (!compared) continue;
    const PooledRules pooled = rules_of(of, interval);
    append(rules, pooled.rules());
    append(edges, pooled.now_and_then());
  }
  if (any) append(rules, shared_rules(interval));
  Json groups = Json::array();
  if (!rules.empty()) groups.push_back(group("slogate-slos", interval, std::move(rules)));
  if (!edges.empty())
    groups.push_back(group("slogate-slos-edges", edges_interval(interval), std::move(edges)));
  return {{"groups", std::move(groups)}};
}

std::string render_rules(const Json& rules) {
  std::string text = "# Made by `slogate rules`; do not edit.\ngroups:\n";
  if (rules["groups"].empty()) return "# Made by `slogate rules`: there are no SLOs.\ngroups: []\n";
  for (const Json& group : rules["groups"]) {
    text += fmt::format("  - name: {}\n    interval: {}\n    rules:\n",
                        group["name"].get<std::string>(), group["interval"].get<std::string>());
    for (const Json& rule : group["rules"]) {
      text += fmt::format("      - record: {}\n        expr: >-\n          {}\n",
                          rule["record"].get<std::string>(), rule["expr"].get<std::string>());
      if (!rule.contains("labels")) continue;
      text += "        labels:\n";
      // A string of JSON is one of YAML.
      for (const auto& [name, value] : rule["labels"].items())
        text += fmt::format("          {}: {}\n", name, value.dump());
    }
  }
  return text;
}

namespace {

std::set<std::string> names_of(const std::vector<FleetSlo>& slos) {
  std::set<std::string> names;
  for (const FleetSlo& one : slos) names.insert(one.slo.name);
  return names;
}

Outcome<std::vector<FleetSlo>> slos_of_config(const std::string& path, std::string& warnings) {
  std::vector<FleetSlo> slos;
  if (path.empty()) return slos;
  auto config = read_config(path);
  if (config) {
    for (const ConfigProblem& warning : config->warnings) warnings += warning.line() + "\n";
    for (Slo& slo : config->slos) slos.push_back({std::move(slo)});
    return slos;
  }
  std::string problems;
  for (const ConfigProblem& problem : config.error())
    problems += (problems.empty() ? "" : "\n") + problem.line();
  return fail(kFailed, std::move(problems));
}

}  // namespace

Outcome<Report> show_rules(const RulesOptions& options, const Output& output) {
  Report report;
  auto slos = slos_of_config(options.config, report.warnings);
  if (!slos) return std::unexpected(slos.error());
  if (!options.workloads.empty()) {
    auto more = read_workloads(options.workloads);
    if (!more) return std::unexpected(Failure{more.error().within(options.workloads)});
    for (const std::string& problem : more->problems)
      report.warnings += fmt::format("left out: {}\n", problem);
    for (const FleetSlo& one : more->slos)
      for (const std::string& note : one.slo.notes)
        report.warnings += fmt::format("{}: {}\n", one.slo.name, note);
    // As on a node: what the configuration says of a name goes first.
    const std::set<std::string> taken = names_of(*slos);
    for (FleetSlo& one : more->slos)
      if (!taken.contains(one.slo.name)) slos->push_back(std::move(one));
  }
  const Json rules = to_rules(*slos, options.interval);
  report.text = output.json ? to_line(rules) : render_rules(rules);
  return report;
}

}  // namespace slogate::cli
