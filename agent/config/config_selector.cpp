// SPDX-License-Identifier: Apache-2.0
// Selectors: { cgroup: GLOB or list } or { pods: { namespace: NAME, labels: { KEY: VALUE } } }.
#include "agent/config/config_fields.h"

namespace slogate {
namespace {

// The forms are those of Kubernetes: what it would refuse can match no pod.
Result<std::string> parse_namespace(std::string_view text) {
  return parse_name(text, 63, "-", "a namespace", "at most 63 of a-z, 0-9 and, inside, \"-\"");
}

Result<std::string> parse_label_value(std::string_view text) {
  if (!text.empty() && !is_name(text, 63, "-_.", true))
    return fail(fmt::format("{} is not the value of a label", in_quotes(text)),
                "at most 63 letters and digits and, inside, \"-\", \"_\" and \".\"");
  return std::string(text);
}

bool is_label_key(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_name(text, 63, "-_.", true);
  return is_name(text.substr(0, slash), 253, "-.") &&
         is_name(text.substr(slash + 1), 63, "-_.", true);
}

// The keys are free, so this can't be a table of fields.
void read_label(const YamlNode& key, const YamlNode& value, ConfigProblems& problems,
                std::map<std::string, std::string>& to) {
  if (!is_scalar(key, problems)) return;
  if (!is_label_key(key.text)) {
    problems.add(key, fmt::format("{} is not the key of a label", in_quotes(key.text)),
                 "NAME or PREFIX/NAME, like app or app.kubernetes.io/name");
    return;
  }
  const auto [label, is_new] = to.try_emplace(key.text);
  if (!is_new)
    problems.add(key, fmt::format("label {} stands twice", in_quotes(key.text)), "remove one");
  else
    read_value(value, problems, label->second, parse_label_value);
}

void read_labels(const YamlNode& node, ConfigProblems& problems,
                 std::map<std::string, std::string>& to) {
  if (node.kind != YamlNode::Kind::Map || node.keys.empty()) {
    problems.add(node, "no labels", "name at least one, like { app: payment-api, track: canary }");
    return;
  }
  for (size_t i = 0; i < node.keys.size(); ++i)
    read_label(node.keys[i], node.items[i], problems, to);
}

PodSelector read_pods(const YamlNode& node, ConfigProblems& problems) {
  constexpr std::string_view what = "a selector of pods";
  PodSelector pods;
  const bool is_map = read_fields(
      node, what, problems,
      {{"namespace",
        [&](const YamlNode& v) { read_value(v, problems, pods.namespace_, parse_namespace); }},
       {"labels", [&](const YamlNode& v) { read_labels(v, problems, pods.labels); }}});
  if (is_map) {
    require_key(node, "namespace", what, problems);
    require_key(node, "labels", what, problems);
  }
  return pods;
}

std::vector<Glob> read_cgroups(const YamlNode& node, ConfigProblems& problems) {
  std::vector<Glob> globs;
  if (node.kind == YamlNode::Kind::Sequence && node.items.empty())
    problems.add(node, "the selector is empty", "name at least one cgroup");
  read_globs(node, problems, globs);
  return globs;
}

}  // namespace

std::optional<Selector> read_selector(const YamlNode& node, ConfigProblems& problems) {
  const size_t before = problems.size();
  Selector selector;
  const bool is_map =
      read_fields(node, "a selector", problems,
                  {{"cgroup", [&](const YamlNode& v) { selector = read_cgroups(v, problems); }},
                   {"pods", [&](const YamlNode& v) { selector = read_pods(v, problems); }}});
  if (is_map && !node.find("cgroup") && !node.find("pods"))
    problems.add(node, "the selector is empty", "give it cgroup: or pods:");
  if (node.find("cgroup") && node.find("pods"))
    problems.add(node, "the selector has both cgroups and pods", "keep one of them");
  if (problems.size() > before) return std::nullopt;
  return selector;
}

}  // namespace slogate
