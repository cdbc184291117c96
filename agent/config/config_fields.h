// SPDX-License-Identifier: Apache-2.0
// How the configuration is read from its tree: tables of fields, and a list that problems are added
// to while reading goes on. Only for the files agent/config*.cpp, and for annotations, whose values
// are the same.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/config/config.h"
#include "agent/config/yaml_tree.h"
#include "maps/error.h"

namespace slogate {

// Collects what is wrong with one file.
class ConfigProblems {
 public:
  explicit ConfigProblems(std::string_view file) : file_(file) {}

  void add(const YamlNode& at, std::string message, std::string remedy = {});
  void add(const YamlNode& at, Error error);
  // What is understood all the same; said once, where it stands first.
  void warn(const YamlNode& at, std::string message);
  [[nodiscard]] size_t size() const { return problems_.size(); }
  // All of them, by line and column; this is empty afterwards.
  std::vector<ConfigProblem> take();
  std::vector<ConfigProblem> take_warnings() { return std::exchange(warnings_, {}); }

 private:
  std::string file_;
  std::vector<ConfigProblem> problems_, warnings_;
};

// One key that a mapping may have, and what reads its value.
struct Field {
  std::string_view key;
  std::function<void(const YamlNode&)> read;
};

// Reads each key of a mapping by its field. Adds a problem for what is not a mapping, for unknown
// and repeated keys and for keys without a value. `what` names the mapping in messages. False when
// the node is not a mapping.
bool read_fields(const YamlNode& node, std::string_view what, ConfigProblems& problems,
                 std::span<const Field> fields);
inline bool read_fields(const YamlNode& node, std::string_view what, ConfigProblems& problems,
                        std::initializer_list<Field> fields) {
  return read_fields(node, what, problems, std::span(fields.begin(), fields.size()));
}

// Calls `read` with each item of a list of at most `most`; what is not a list or longer is a
// problem.
void read_list(const YamlNode& node, ConfigProblems& problems, size_t most,
               const std::function<void(const YamlNode&)>& read);

// False, and a problem, when the node is not a single value.
bool is_scalar(const YamlNode& node, ConfigProblems& problems);

// Parses a single value with `parse`, a function from string_view to Result, and stores it in `to`;
// what does not parse is a problem and leaves `to` as it was.
template <typename T, typename Parse>
void read_value(const YamlNode& node, ConfigProblems& problems, T& to, const Parse& parse) {
  if (!is_scalar(node, problems)) return;
  auto value = parse(std::string_view(node.text));
  if (value)
    to = std::move(*value);
  else
    problems.add(node, std::move(value.error()));
}

// "unknown WHAT "name"", and as the remedy the nearest known name, if one is near, and all of them.
[[nodiscard]] Error unknown_name(std::string_view what, std::string_view name,
                                 std::span<const std::string_view> known);

// Adds a problem when a mapping lacks a key that it must have. `what` as above.
void require_key(const YamlNode& map, std::string_view key, std::string_view what,
                 ConfigProblems& problems);

// Whether a text is 1 to `most` characters of a-z and 0-9 (A-Z too, if `upper`), and between the
// first and the last also those of `inner`: the form of names in Kubernetes.
[[nodiscard]] bool is_name(std::string_view text, size_t most, std::string_view inner,
                           bool upper = false);

// The text if it has that form. `what` and `remedy` are for the message.
[[nodiscard]] Result<std::string> parse_name(std::string_view text, size_t most,
                                             std::string_view inner, std::string_view what,
                                             std::string_view remedy);

// Reads one glob or a list of them.
void read_globs(const YamlNode& node, ConfigProblems& problems, std::vector<Glob>& to);

// Above zero, and no longer than the histograms can tell apart.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_latency(std::string_view text);
// Of an SLO: above 0, at most 0.5.
[[nodiscard]] Result<double> parse_alpha(std::string_view text);
// A factor from 1 to 10.
[[nodiscard]] Result<double> parse_node_margin(std::string_view text);
// Of a weight: a share of the traffic in percent, with a sign or without; a second or more between
// two steps; and whether they go together.
[[nodiscard]] Result<double> parse_percent(std::string_view text);
[[nodiscard]] Result<std::chrono::nanoseconds> parse_pace(std::string_view text);
[[nodiscard]] Result<void> check_weight(const WeightSteps& steps);
// A name as Kubernetes wants it.
[[nodiscard]] Result<std::string> parse_container(std::string_view text);

// "10.0.0.7", "10.0.0.0/8", "fd00::/8".
[[nodiscard]] Result<AddressRange> parse_range(std::string_view text);
// As an annotation says it: "refuse", "refuse for latency" or "off".
[[nodiscard]] Result<EnforceTerms> parse_enforce(std::string_view text);

// Reads what is done to canaries that are vetoed: by the agent, and of one SLO.
// agent/config/config_enforce.cpp.
void read_enforce(const YamlNode& node, ConfigProblems& problems, EnforceConfig& to);
void read_enforce_terms(const YamlNode& node, ConfigProblems& problems, EnforceTerms& to);

// Reads what /metrics shows. agent/config/config_metrics.cpp.
void read_metrics(const YamlNode& node, ConfigProblems& problems, MetricsSettings& to);

// The selector of one arm, nothing when it has a problem. agent/config/config_selector.cpp.
[[nodiscard]] std::optional<Selector> read_selector(const YamlNode& node, ConfigProblems& problems);

// Reads the objectives of an SLO that have no problem, and notes what of them has another name now;
// whether there is a baseline, without which nothing can be bounded by an increase, `to` does not
// know yet. agent/config/config_objective.cpp.
void read_objectives(const YamlNode& node, bool has_baseline, ConfigProblems& problems, Slo& to);

// The list of SLOs. agent/config/config_slo.cpp.
[[nodiscard]] std::vector<Slo> read_slos(const YamlNode& node, ConfigProblems& problems);

}  // namespace slogate
