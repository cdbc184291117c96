// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.h"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <map>

#include "agent/config/class_rules.h"
#include "agent/config/config_fields.h"
#include "maps/file.h"
#include "maps/integer.h"
#include "maps/tables.h"

namespace slogate {
namespace {

// A "" turns listening off.
Result<std::optional<ListenAddress>> parse_listen(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return parse_address(text);
}

// "a", "a and b", "a, b and c"; not of nothing.
std::string listed(std::span<const std::string_view> names) {
  if (names.size() == 1) return std::string(names.front());
  return fmt::format("{} and {}", fmt::join(names.first(names.size() - 1), ", "), names.back());
}

Result<std::string> parse_path(std::string_view text) {
  if (!text.starts_with('/'))
    return fail(fmt::format("{} is not an absolute path", in_quotes(text)), "start it with \"/\"");
  return std::string(text);
}

Result<std::string> parse_socket(std::string_view text) {
  constexpr size_t longest = sizeof(sockaddr_un::sun_path) - 1;
  auto path = parse_path(text);
  if (!path) return path;
  if (path->size() > longest)
    return fail(fmt::format("the path has {} bytes", path->size()),
                fmt::format("a Unix socket's has at most {}", longest));
  if (path->ends_with('/'))
    return fail(fmt::format("{} is not the path of a socket", in_quotes(text)),
                "add the name of the socket");
  return path;
}

Result<double> parse_memory_ratio(std::string_view text) {
  return parse_ratio(text, 0.5);
}

Result<double> parse_cpu_ratio(std::string_view text) {
  return parse_ratio(text);
}

Result<std::chrono::seconds> parse_grace(std::string_view text) {
  using namespace std::chrono_literals;
  const auto grace = parse_duration(text);
  if (!grace) return fail(grace.error());
  if (*grace < 1s || *grace > 1h)
    return fail(fmt::format("{} is too {}", in_quotes(text), *grace < 1s ? "short" : "long"),
                "from 1s to 1h, and longer than the interval of your scrapes");
  return std::chrono::round<std::chrono::seconds>(*grace);
}

Result<uint32_t> parse_uid(std::string_view text) {
  // The last one stands for none.
  if (const auto uid = parse_integer<uint32_t>(text, 0, UINT32_MAX - 1)) return *uid;
  return fail(fmt::format("{} is not a uid", in_quotes(text)), "give it as a number: id -u NAME");
}

Result<slogate_class> parse_class(std::string_view text) {
  const auto* found = std::ranges::find(kClasses, text);
  if (found == kClasses.end()) return fail(unknown_name("class", text, kClasses));
  return static_cast<slogate_class>(found - kClasses.begin());
}

// One of an enum's names, which are in its order.
template <typename Enum, const auto& names>
Result<Enum> parse_choice(std::string_view text) {
  const auto* found = std::ranges::find(names, text);
  if (found == names.end()) return fail(unknown_name("choice", text, names));
  return static_cast<Enum>(found - names.begin());
}

// Whether only peers on this node are meant.
Result<bool> parse_peer(std::string_view text) {
  constexpr std::array<std::string_view, 2> peers = {"any", "node"};
  if (std::ranges::find(peers, text) == peers.end()) return fail(unknown_name("peer", text, peers));
  return text == "node";
}

void read_filter(const YamlNode& node, ConfigProblems& problems, CgroupFilter& to) {
  read_fields(node, "the filter of cgroups", problems,
              {{"include",
                [&](const YamlNode& v) {
                  if (v.kind == YamlNode::Kind::Sequence && v.items.empty())
                    problems.add(v, "nothing is included", "[\"/**\"] includes every cgroup");
                  read_globs(v, problems, to.include);
                }},
               {"exclude", [&](const YamlNode& v) { read_globs(v, problems, to.exclude); }}});
}

ClassRule read_class_rule(const YamlNode& node, ConfigProblems& problems) {
  constexpr std::string_view what = "a rule for a class";
  ClassRule rule;
  const bool is_map = read_fields(
      node, what, problems,
      {{"class", [&](const YamlNode& v) { read_value(v, problems, rule.class_, parse_class); }},
       {"port", [&](const YamlNode& v) { read_value(v, problems, rule.port, parse_port); }},
       {"peer", [&](const YamlNode& v) { read_value(v, problems, rule.from_node, parse_peer); }}});
  if (!is_map) return rule;
  require_key(node, "class", what, problems);
  const YamlNode* peer = node.find("peer");
  if (!node.find("port") && (!peer || peer->text == "any"))
    problems.add(node, "a rule for every socket", "give it a port or peer: node");
  return rule;
}

std::vector<ClassRule> read_classes(const YamlNode& node, ConfigProblems& problems) {
  std::vector<ClassRule> rules;
  std::map<std::pair<uint16_t, bool>, int> lines;
  read_list(node, problems, SLOGATE_CLASS_RULES, [&](const YamlNode& item) {
    const size_t before = problems.size();
    const ClassRule& rule = rules.emplace_back(read_class_rule(item, problems));
    if (problems.size() > before) return;
    const auto [first, is_new] = lines.try_emplace({rule.port, rule.from_node}, item.line);
    if (!is_new)
      problems.add(item, "a second rule with the same port and peer",
                   fmt::format("the first is in line {}: remove one", first->second));
  });
  return rules;
}

Result<std::string> parse_server(std::string_view text) {
  constexpr std::string_view scheme = "https://";
  if (!text.starts_with(scheme) || text.size() == scheme.size() ||
      text.find_first_of("/? #@", scheme.size()) != std::string_view::npos)
    return fail(fmt::format("{} is not an API server", in_quotes(text)),
                "like https://10.0.0.1:6443");
  return std::string(text);
}

Result<std::string> parse_node(std::string_view text) {
  return parse_name(text, 253, "-.", "the name of a node", "kubectl get nodes lists them");
}

KubernetesConfig read_kubernetes(const YamlNode& node, ConfigProblems& problems) {
  constexpr std::string_view what = "the access to Kubernetes";
  KubernetesConfig config;
  const bool is_map = read_fields(
      node, what, problems,
      {{"server", [&](const YamlNode& v) { read_value(v, problems, config.server, parse_server); }},
       {"token_file",
        [&](const YamlNode& v) { read_value(v, problems, config.token_file, parse_path); }},
       {"ca_file", [&](const YamlNode& v) { read_value(v, problems, config.ca_file, parse_path); }},
       {"node", [&](const YamlNode& v) { read_value(v, problems, config.node, parse_node); }},
       {"peer_token_file",
        [&](const YamlNode& v) { read_value(v, problems, config.peer_token_file, parse_path); }}});
  if (is_map)
    for (const char* key : {"server", "token_file", "ca_file", "node"})
      require_key(node, key, what, problems);
  return config;
}

void read_maps(const YamlNode& node, ConfigProblems& problems, MapLimits& to) {
  read_fields(
      node, "the limits of maps", problems,
      {{"memory_ratio",
        [&](const YamlNode& v) { read_value(v, problems, to.memory_ratio, parse_memory_ratio); }},
       {"grace", [&](const YamlNode& v) { read_value(v, problems, to.grace, parse_grace); }}});
}

PeerTls read_peer_tls(const YamlNode& node, ConfigProblems& problems) {
  constexpr std::string_view what = "the certificates of agents";
  PeerTls tls;
  const bool is_map = read_fields(
      node, what, problems,
      {{"cert", [&](const YamlNode& v) { read_value(v, problems, tls.cert, parse_path); }},
       {"key", [&](const YamlNode& v) { read_value(v, problems, tls.key, parse_path); }},
       {"ca", [&](const YamlNode& v) { read_value(v, problems, tls.ca, parse_path); }}});
  if (is_map)
    for (const char* key : {"cert", "key", "ca"}) require_key(node, key, what, problems);
  return tls;
}

Result<ListenAddress> parse_peer_address(std::string_view text) {
  auto address = parse_address(text);
  if (!address)
    return fail(fmt::format("{} is not the address of an agent", in_quotes(text)),
                "write ADDR:PORT, like 10.0.0.7:9938 or [fd00::7]:9938");
  return address;
}

void read_peers(const YamlNode& node, ConfigProblems& problems, std::vector<ListenAddress>& to) {
  read_list(node, problems, kMaxPeers, [&](const YamlNode& item) {
    ListenAddress address;
    const size_t before = problems.size();
    read_value(item, problems, address, parse_peer_address);
    if (problems.size() > before) return;
    if (std::ranges::find(to, address) != to.end())
      return problems.add(item, fmt::format("{} is there twice", in_quotes(item.text)),
                          "remove one");
    to.push_back(std::move(address));
  });
}

Result<size_t> parse_lenders(std::string_view text) {
  if (const auto lenders = parse_integer<size_t>(text, 1, 64)) return *lenders;
  return fail(fmt::format("{} is not a number of lenders", in_quotes(text)), "from 1 to 64");
}

void read_admins(const YamlNode& node, ConfigProblems& problems, std::vector<uint32_t>& to) {
  read_list(node, problems, kMaxAdmins, [&](const YamlNode& item) {
    read_value(item, problems, to.emplace_back(), parse_uid);
  });
}

void check_addresses(const YamlNode& node, const Config& config, ConfigProblems& problems) {
  const auto check = [&](const char* a, const auto& of_a, const char* b, const auto& of_b) {
    if (!of_a || of_a != of_b) return;
    const YamlNode* at = node.find(b);
    problems.add(at ? *at : node, fmt::format("the address of {} and {} is the same", a, b),
                 "give one of them another port");
  };
  check("listen", config.listen, "api_listen", config.api_listen);
  check("listen", config.listen, "peer_listen", config.peer_listen);
  check("api_listen", config.api_listen, "peer_listen", config.peer_listen);
}

// Readings say how busy a service is, and a lender is believed: nobody may ask or answer unknown.
void check_peers(const YamlNode& node, const Config& config, ConfigProblems& problems) {
  const bool has_key = !config.peer_key_file.empty();
  if (config.peer_tls && has_key)
    problems.add(*node.find("peer_key_file"), "peer_tls and peer_key_file are both given",
                 "remove one of them");
  if (config.peer_tls || has_key) return;
  for (const char* key : {"peer_listen", "peers"}) {
    const YamlNode* at = node.find(key);
    const bool used =
        key == std::string_view("peers") ? !config.peers.empty() : config.peer_listen.has_value();
    if (at && used)
      problems.add(*at, fmt::format("{} without a way to know who is there", key),
                   "add peer_key_file: /etc/slogate/peer.key, the same on every node, made by "
                   "openssl rand -hex 32; or peer_tls");
  }
}

// An SLO for a port that no request of class `service` can come to would wait forever.
void check_ports(const YamlNode& root, const Config& config, ConfigProblems& problems) {
  const YamlNode* slos = root.find("slos");
  for (size_t i = 0; i < config.slos.size(); ++i) {
    const auto& port = config.slos[i].port;
    const auto rule = std::ranges::find_if(config.classes, [&](const ClassRule& one) {
      return port && one.port == *port && !one.from_node && one.class_ != SLOGATE_CLASS_service;
    });
    if (rule == config.classes.end()) continue;
    problems.add(*slos->items[i].find("port"),
                 fmt::format("port {} is of class {}, and only class service is judged", *port,
                             kClasses[rule->class_]),
                 "remove one of the two, or give the rule peer: node");
  }
  if (to_class_rules(config.classes, config.slos).size() > SLOGATE_CLASS_RULES)
    problems.add(
        *slos,
        fmt::format("classes and ports of SLOs need more than {} rules", SLOGATE_CLASS_RULES),
        "name fewer different ports");
}

// Both have to say so: an SLO alone would be believed to be enforced. Who refuses a canary has to
// have someone else to serve, and what else listens beside a cgroup nobody knows.
void check_enforce(const YamlNode& root, const Config& config, ConfigProblems& problems) {
  const YamlNode* slos = root.find("slos");
  for (size_t i = 0; i < config.slos.size(); ++i) {
    const Slo& slo = config.slos[i];
    if (slo.enforce.mode == EnforceMode::Off) continue;
    const YamlNode& at = *slos->items[i].find("enforce");
    if (config.enforce.mode == EnforceMode::Off) {
      problems.add(at, "the SLO enforces, and the agent does not",
                   "add enforce: { mode: refuse } at the top; docs/enforcement.md says what else");
      continue;
    }
    if (!slo.baseline)
      problems.add(at, "the SLO enforces without a baseline: nobody would be left to serve",
                   "add the baseline, which serves instead");
    const bool selects_cgroups = std::holds_alternative<std::vector<Glob>>(slo.canary);
    if (selects_cgroups && slo.enforce.ports.empty() && !slo.port)
      problems.add(at, "the SLO enforces on every port of its network namespace",
                   "name those of the canary, like ports: [8080]");
  }
}

// A key of the file, the member that it is read into, and how.
struct Row {
  ConfigKey key;
  void (*read)(const YamlNode&, ConfigProblems&, Config&);
};

// It is the member's place that says when a key takes effect, so the mark cannot be wrong.
template <typename T>
consteval bool is_of_start(T StartConfig::* /*member*/) {
  return true;
}
template <typename T>
consteval bool is_of_start(T LiveConfig::* /*member*/) {
  return false;
}

template <auto Member, auto Read>
constexpr Row row(std::string_view key) {
  return {.key = {.name = key,
                  .needs_restart = is_of_start(Member),
                  .same = [](const Config& a, const Config& b) { return a.*Member == b.*Member; }},
          .read = [](const YamlNode& node, ConfigProblems& problems, Config& config) {
            Read(node, problems, config.*Member);
          }};
}

// Reads a single value with a function from string_view to Result.
template <auto Parse>
constexpr auto single = [](const YamlNode& node, ConfigProblems& problems, auto& to) {
  read_value(node, problems, to, Parse);
};
// Reads what a function from YamlNode makes whole.
template <auto Read>
constexpr auto whole =
    [](const YamlNode& node, ConfigProblems& problems, auto& to) { to = Read(node, problems); };

constexpr std::array kRows = {
    row<&Config::listen, single<parse_listen>>("listen"),
    row<&Config::api_listen, single<parse_listen>>("api_listen"),
    row<&Config::socket, single<parse_socket>>("socket"),
    row<&Config::cgroups, read_filter>("cgroups"),
    row<&Config::maps, read_maps>("maps"),
    row<&Config::cpu_ratio, single<parse_cpu_ratio>>("cpu_ratio"),
    row<&Config::metrics, read_metrics>("metrics"),
    row<&Config::page, single<parse_choice<PageFor, kPageFor>>>("page"),
    row<&Config::admin_uids, read_admins>("admin_uids"),
    row<&Config::kubernetes, whole<read_kubernetes>>("kubernetes"),
    row<&Config::state_dir, single<parse_path>>("state_dir"),
    row<&Config::outcomes, single<parse_choice<Outcomes, kOutcomes>>>("outcomes"),
    row<&Config::enforce, read_enforce>("enforce"),
    row<&Config::peer_listen, single<parse_listen>>("peer_listen"),
    row<&Config::peer_tls, whole<read_peer_tls>>("peer_tls"),
    row<&Config::peer_key_file, single<parse_path>>("peer_key_file"),
    row<&Config::peers, read_peers>("peers"),
    row<&Config::lenders, single<parse_lenders>>("lenders"),
    row<&Config::classes, whole<read_classes>>("classes"),
    row<&Config::slos, whole<read_slos>>("slos"),
};

constexpr auto kKeys = [] {
  std::array<ConfigKey, kRows.size()> keys{};
  std::ranges::transform(kRows, keys.begin(), &Row::key);
  return keys;
}();

Config to_config(const YamlNode& root, ConfigProblems& problems) {
  Config config;
  // Whoever wrote the file without this key was promised that no payload is read.
  config.outcomes = Outcomes::Slos;
  if (root.kind == YamlNode::Kind::Null) return config;
  std::vector<Field> fields;
  for (const Row& row : kRows)
    fields.push_back(
        {row.key.name, [&](const YamlNode& node) { row.read(node, problems, config); }});
  read_fields(root, "the configuration", problems, fields);
  check_addresses(root, config, problems);
  check_peers(root, config, problems);
  check_ports(root, config, problems);
  check_enforce(root, config, problems);
  return config;
}

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

std::string needs_restart(const Config& started, const Config& read) {
  std::vector<std::string_view> changed;
  for (const ConfigKey& key : kKeys)
    if (key.needs_restart && !key.same(started, read)) changed.push_back(key.name);
  if (changed.empty()) return "";
  return fmt::format("{} {} a restart", listed(changed), changed.size() == 1 ? "needs" : "need");
}

std::string ConfigProblem::line() const {
  const std::string where =
      line_number == 0 ? file : fmt::format("{}:{}:{}", file, line_number, column);
  return Error{message, remedy}.within(where).line();
}

Checked<Config> parse_config(std::string_view yaml, std::string_view file_name) {
  ConfigProblems problems(file_name);
  auto root = parse_yaml(yaml);
  if (!root) {
    YamlError& error = root.error();
    problems.add({.line = error.line, .column = error.column}, std::move(error.message),
                 std::move(error.remedy));
    return std::unexpected(problems.take());
  }
  Config config = to_config(*root, problems);
  if (problems.size() > 0) return std::unexpected(problems.take());
  config.warnings = problems.take_warnings();
  return config;
}

Checked<Config> read_config(const std::string& path) {
  // One byte more than parse_yaml() takes, so that it can say so.
  auto text = read_file(path, kMaxYamlBytes + 1);
  if (text) return parse_config(*text, path);
  return std::unexpected(std::vector{ConfigProblem{.file = path,
                                                   .message = std::move(text.error().message),
                                                   .remedy = std::move(text.error().remedy)}});
}

}  // namespace slogate
