// SPDX-License-Identifier: Apache-2.0
// The configuration of the agent: a YAML file, checked completely before anything uses it.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/units.h"
#include "agent/config/cgroup_filter.h"
#include "agent/config/enforce_config.h"
#include "agent/config/metrics_settings.h"
#include "agent/config/peers_config.h"
#include "agent/config/slo.h"
#include "maps/abi.h"

namespace slogate {

// Puts server sockets into a traffic class. At least one of the two conditions is set.
struct ClassRule {
  slogate_class class_ = SLOGATE_CLASS_service;
  uint16_t port = 0;       // local port; 0 for any
  bool from_node = false;  // only peers whose address is one of this node's

  bool operator==(const ClassRule&) const = default;
};

// Ceilings of the BPF maps.
struct MapLimits {
  double memory_ratio = 0.0025;  // of the node's memory, for all maps together; at most 0.5
  // How long the counts of a removed cgroup stay to be seen: 1 s to 1 h.
  std::chrono::seconds grace{60};

  bool operator==(const MapLimits&) const = default;
};

// The API server, where the agent is not a pod and has to be told.
struct KubernetesConfig {
  std::string server, token_file, ca_file, node;
  std::string peer_token_file = {};  // what agents show each other; "" for nothing

  bool operator==(const KubernetesConfig&) const = default;
};

// One thing that is wrong with a file, and where. Line and column are from 1, columns in bytes;
// both are 0 when it is about the file as a whole.
struct ConfigProblem {
  std::string file;
  int line_number = 0, column = 0;
  std::string message, remedy;

  // "FILE:LINE:COLUMN: message (remedy)"
  [[nodiscard]] std::string line() const;
};

// Whose answers the programs look into, for what they say: see docs/method.md.
enum class Outcomes { All, Slos, Off };
inline constexpr std::array<std::string_view, 3> kOutcomes = {"all", "slos", "off"};

// Who gets the page of the node, at the address of /metrics: clients on this node, everybody who
// reaches the address, nobody.
enum class PageFor { Local, On, Off };
inline constexpr std::array<std::string_view, 3> kPageFor = {"local", "on", "off"};

// What is read once, when the agent starts: then sockets are bound, threads made and privileges
// dropped that a change would need again.
struct StartConfig {
  std::optional<ListenAddress> listen = ListenAddress{.host = "0.0.0.0", .port = 9937};
  std::optional<ListenAddress> api_listen;
  std::string socket = "/run/slogate/agent.sock";
  // Where other nodes' agents ask for readings, and how it is known that they are agents: there is
  // no listening, and no asking, without one of the two.
  std::optional<ListenAddress> peer_listen;
  std::optional<PeerTls> peer_tls;
  std::string peer_key_file;         // "" for none
  std::vector<uint32_t> admin_uids;  // who may change something besides root
  // Nothing where a pod's own environment says it, or there is no Kubernetes.
  std::optional<KubernetesConfig> kubernetes;
  std::string state_dir = "/var/lib/slogate";
  // A file that does not say it is from before there was a choice, and means Slos.
  Outcomes outcomes = Outcomes::All;
  EnforceConfig enforce;

  bool operator==(const StartConfig&) const = default;
};

// What can change while running: Agent::apply() takes all of it, at the start and on SIGHUP.
struct LiveConfig {
  CgroupFilter cgroups;
  MapLimits maps;
  // What the agent and its programs may take of the node's CPUs together: above 0; 1 is no limit.
  double cpu_ratio = 0.005;
  MetricsSettings metrics;
  PageFor page = PageFor::Local;
  std::vector<ClassRule> classes;  // no two with the same conditions
  std::vector<Slo> slos;           // no two with the same name
  // Agents of other nodes, to be asked for baselines, and how many of them for each SLO.
  std::vector<ListenAddress> peers;
  size_t lenders = 8;  // 1 to 64

  bool operator==(const LiveConfig&) const = default;
};

// Everything a configuration file can say, one member for each key. A Config made from nothing has
// the defaults, and nothing else has any but for `outcomes`.
struct Config : StartConfig, LiveConfig {
  // What is understood, but will not be for ever: for who keeps the file.
  std::vector<ConfigProblem> warnings = {};
};

// One key at the top of a file.
struct ConfigKey {
  std::string_view name;
  bool needs_restart;  // its member is one of StartConfig
  // Whether two configurations agree in it.
  bool (*same)(const Config&, const Config&);
};

// All of them, in the order of the messages.
[[nodiscard]] std::span<const ConfigKey> config_keys();

// Which keys an agent that started with `started` cannot take from `read` while it runs, as a line
// for the log: "listen and socket need a restart"; "" for none.
[[nodiscard]] std::string needs_restart(const Config& started, const Config& read);

template <typename T>
using Checked = std::expected<T, std::vector<ConfigProblem>>;

// What one list may hold at the most.
inline constexpr size_t kMaxAdmins = 100;
inline constexpr size_t kMaxSlos = 1000;
inline constexpr size_t kMaxObjectives = 100;
inline constexpr size_t kMaxGlobs = 1000;
inline constexpr size_t kMaxPeers = 1000;

// The configuration that a text describes, or every problem it has, by line and column; `file_name`
// is only repeated in those. A text that is not YAML at all has one problem.
[[nodiscard]] Checked<Config> parse_config(std::string_view yaml, std::string_view file_name);

// The same for a file of at most 1 MiB.
[[nodiscard]] Checked<Config> read_config(const std::string& path);

}  // namespace slogate
