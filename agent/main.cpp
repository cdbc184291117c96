// SPDX-License-Identifier: Apache-2.0
// slogate-agent: the one place that wires configuration, measuring and views.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <mutex>

#include "agent/agent.h"
#include "agent/api/api.h"
#include "agent/base/event_loop.h"
#include "agent/base/log.h"
#include "agent/config/config.h"
#include "agent/host/addresses.h"
#include "agent/host/host.h"
#include "agent/host/memory_limit.h"
#include "agent/host/privileges.h"
#include "agent/host/syscalls.h"
#include "agent/http/http.h"
#include "agent/kubernetes/client.h"
#include "agent/page/page.h"
#include "agent/peers/peers.h"
#include "exporter/exporter.h"
#include "maps/file.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr int kCannotStart = 1;
constexpr int kBadUsage = 2;
constexpr size_t kReadsPerTick = 4;
constexpr std::chrono::milliseconds kTickInterval = kReadsPerTick * kReadInterval;
static_assert(kTickInterval == 1s);
constexpr const char* kDefaultConfig = "/etc/slogate/slogate.yaml";
constexpr const char* kDefaultPinDir = "/sys/fs/bpf/slogate";

// The command line; what is not given comes from the configuration or the host.
struct CommandLine {
  std::string config, socket, cgroup_root, state_dir;
  std::optional<std::string> listen, api_listen;
  std::string pin_dir = kDefaultPinDir;
  bool check = false, unpin = false;
};

void define(CLI::App& app, CommandLine& line) {
  app.add_option("--config", line.config,
                 fmt::format("configuration file (default {} if present)", kDefaultConfig));
  app.add_flag("--check", line.check, "check the configuration and exit: 0 good, 2 bad");
  app.add_option("--socket", line.socket, "Unix socket of the API");
  app.add_option("--listen", line.listen, "address of /metrics, \"\" for none");
  app.add_option("--api-listen", line.api_listen, "address of the read-only API, \"\" for none");
  app.add_option("--cgroup-root", line.cgroup_root, "where the host's cgroup2 is mounted");
  app.add_option("--pin-dir", line.pin_dir,
                 "directory on bpffs in which counting outlives the agent, or none");
  app.add_option("--state-dir", line.state_dir, "directory for what must survive a restart");
  app.add_flag("--unpin", line.unpin, "remove what an agent left in the pin directory and exit");
}

// ---- configuration ----

std::string config_path(const CommandLine& line) {
  if (!line.config.empty()) return line.config;
  std::error_code error;
  return std::filesystem::exists(kDefaultConfig, error) ? kDefaultConfig : "";
}

Result<void> set_address(std::optional<ListenAddress>& to, const std::optional<std::string>& text) {
  if (!text) return {};
  to.reset();
  if (text->empty()) return {};
  auto address = parse_address(*text);
  if (!address) return fail(address.error());
  to = std::move(*address);
  return {};
}

// What the command line says goes over the file.
Result<void> override_config(Config& config, const CommandLine& line) {
  if (!line.socket.empty()) config.socket = line.socket;
  if (!line.state_dir.empty()) config.state_dir = line.state_dir;
  if (auto done = set_address(config.listen, line.listen); !done)
    return fail(done.error().within("--listen"));
  if (auto done = set_address(config.api_listen, line.api_listen); !done)
    return fail(done.error().within("--api-listen"));
  return {};
}

// The file with what the command line says over it; problems are printed.
std::optional<Config> read_settings(const CommandLine& line) {
  Config config;
  if (const std::string path = config_path(line); !path.empty()) {
    auto read = read_config(path);
    if (!read) {
      for (const ConfigProblem& problem : read.error()) log_line(problem.line());
      return std::nullopt;
    }
    config = std::move(*read);
    for (const ConfigProblem& warning : config.warnings) log_line(warning.line());
  }
  if (auto done = override_config(config, line); !done) {
    log_line(done.error().line());
    return std::nullopt;
  }
  return config;
}

// What the agent's own cgroup allows the maps: as the host shows it or, where this is a container
// that sees only its own part of the tree, as the container does.
uint64_t memory_allowed() {
  const std::string text = read_file("/proc/self/cgroup").value_or("");
  uint64_t least = UINT64_MAX;
  const auto look = [&](const std::string& root, const char* controller, const char* file) {
    if (const auto limit = read_memory_limit(root, parse_own_cgroup(text, controller), file))
      least = std::min(least, memory_for_maps(*limit));
  };
  const HostRoots roots;
  look(find_cgroup2(roots).value_or(""), "", "memory.max");
  look("/sys/fs/cgroup", "", "memory.max");
  if (const auto v1 = find_v1_memory(roots)) look(*v1, "memory", "memory.limit_in_bytes");
  return least;
}

size_t slots_for(double memory_ratio) {
  struct sysinfo memory {};
  sysinfo(&memory);
  return ceiling_slots(memory_ratio, uint64_t{memory.totalram} * memory.mem_unit, memory_allowed());
}

// ---- views ----

HttpHandler api_handler(Agent& agent, const std::vector<uint32_t>& admins, bool read_only) {
  return [&agent, admins, read_only](const HttpRequest& request) {
    const auto snapshot = agent.snapshot();
    if (!snapshot) return error_response(503, "the first tick has not been made yet");
    ApiActions actions;
    if (!read_only) {
      actions.admins.assign(admins.begin(), admins.end());
      actions.resize = [&agent](const std::string& map, size_t entries) {
        return agent.resize(map, entries);
      };
      actions.reset = [&agent](const std::string& slo) { return agent.reset(slo); };
      actions.breaker = [&agent](const std::string& slo, bool open) {
        return agent.set_breaker(slo, open);
      };
      actions.contents = [&agent](const std::string& map) { return agent.contents(map); };
    }
    actions.latest = [&agent] { return agent.snapshot(); };
    return answer(request, *snapshot, actions);
  };
}

Result<void> add_tcp(std::vector<HttpEndpoint>& endpoints,
                     const std::optional<ListenAddress>& address, HttpHandler handler) {
  if (!address) return {};
  auto tcp = listen_tcp(address->host, address->port);
  if (!tcp) return fail(tcp.error());
  endpoints.push_back({std::move(*tcp), std::move(handler)});
  return {};
}

// Two threads: a scrape of many workloads takes milliseconds, and a gate must not wait for it.
struct Servers {
  HttpServer api, metrics;
};

// The metrics, and the page of the node beside them.
HttpHandler metrics_handler(Agent& agent, Exporter& exporter, Page& page) {
  return [&agent, &exporter, &page](const HttpRequest& request) {
    if (auto shown = page.answer(request)) return std::move(*shown);
    return exporter.answer(request, agent.snapshot());
  };
}

Result<Servers> serve(Agent& agent, Exporter& exporter, Page& page, const Config& config) {
  std::vector<HttpEndpoint> api, metrics;
  auto socket = listen_unix(config.socket, "slogate");
  if (!socket) return fail(socket.error());
  api.push_back({std::move(*socket), api_handler(agent, config.admin_uids, false)});
  if (auto done = add_tcp(metrics, config.listen, metrics_handler(agent, exporter, page)); !done)
    return fail(done.error());
  if (auto done = add_tcp(api, config.api_listen, api_handler(agent, {}, true)); !done)
    return fail(done.error());
  // Whoever talks to these threads talks to a process that can do little.
  if (auto done = drop_privileges(); !done) return fail(done.error());
  const bool may_attach = config.enforce.mode != EnforceMode::Off;
  if (auto done = restrict_system_calls(may_attach); !done) return fail(done.error());
  auto api_server = HttpServer::start(std::move(api), log_line);
  if (!api_server) return fail(api_server.error());
  auto metrics_server =
      HttpServer::start(std::move(metrics), log_line, {.followers = kMostViewers});
  if (!metrics_server) return fail(metrics_server.error());
  return Servers{std::move(*api_server), std::move(*metrics_server)};
}

// ---- Kubernetes ----

// What the configuration says, or the environment of a pod; nothing where there is no Kubernetes.
Result<std::optional<KubernetesAccess>> kubernetes_access(const Config& config) {
  if (!config.kubernetes) return access_of_pod();
  const KubernetesConfig& own = *config.kubernetes;
  return KubernetesAccess{.server = own.server,
                          .token_file = own.token_file,
                          .ca_file = own.ca_file,
                          .node = own.node,
                          .peer_token_file = own.peer_token_file};
}

// Its thread wakes the one that ticks, and takes what that one has to say of pods.
class Kubernetes {
 public:
  explicit Kubernetes(KubernetesAccess access)
      : access_(std::move(access)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  Result<void> start() {
    if (!wake_) return fail(system_error("cannot make an eventfd", errno));
    auto client = KubernetesClient::start(access_, [this] { ::eventfd_write(wake_.get(), 1); });
    if (!client) return fail(client.error().within("Kubernetes"));
    const std::lock_guard lock(mutex_);
    client_ = std::move(*client);
    return {};
  }
  // No answer comes to anyone afterwards.
  void stop() {
    std::shared_ptr<KubernetesClient> last;
    const std::lock_guard lock(mutex_);
    last.swap(client_);
  }
  void write(PodWrites writes) {
    const auto client = this->client();
    if (!client) return;  // it has not started: the first cluster will bring us here again
    client->follow(std::move(writes.vetoed));
    client->set_conditions(std::move(writes.conditions));
    for (PodEvent& event : writes.events) client->post(std::move(event));
  }
  void search(std::vector<PeerSearch> searches) {
    if (const auto client = this->client()) client->search(std::move(searches));
  }
  // Of the thread that asks and lends: it may come before there is a client, and when there is none
  // any more.
  [[nodiscard]] std::string peer_token() const {
    const auto client = this->client();
    const auto token = client ? client->own_peer_token() : fail("it has not started yet");
    log_change("kubernetes: own token", token ? "" : token.error().line());
    return token.value_or("");
  }
  void check_peer_token(std::string token, std::function<void(Result<void>)> verdict) const {
    const auto client = this->client();
    if (!client) return verdict(fail("the client of Kubernetes has not started yet"));
    client->check_peer_token(std::move(token), std::move(verdict));
  }
  [[nodiscard]] bool has_peer_token() const { return !access_.peer_token_file.empty(); }
  void hand_over(Agent& agent) {
    eventfd_t times = 0;
    ::eventfd_read(wake_.get(), &times);
    if (const auto client = this->client()) agent.on_cluster(client->cluster(), now());
  }
  [[nodiscard]] const std::string& node() const { return access_.node; }
  [[nodiscard]] int poll_fd() const { return wake_.get(); }

 private:
  [[nodiscard]] std::shared_ptr<KubernetesClient> client() const {
    const std::lock_guard lock(mutex_);
    return client_;
  }

  KubernetesAccess access_;
  Fd wake_;
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<KubernetesClient> client_;
};

// ---- other nodes ----

// Null where nothing says how agents know each other. Where agents have tokens for each other, who
// asks has to show one as well as the key or a certificate.
Result<std::unique_ptr<Peers>> make_peers(const Config& config, const Kubernetes* kubernetes) {
  PeersOptions options{.listen = config.peer_listen,
                       .security = {.tls = config.peer_tls, .key_file = config.peer_key_file}};
  if (!options.security.given()) return nullptr;
  if (kubernetes != nullptr && kubernetes->has_peer_token()) {
    options.check_token = [kubernetes](std::string token, auto done) {
      kubernetes->check_peer_token(std::move(token), std::move(done));
    };
    options.own_token = [kubernetes] { return kubernetes->peer_token(); };
  }
  return Peers::make(std::move(options));
}

// ---- life ----

// What the host lacks without stopping us.
std::vector<std::string> notes_of(const std::vector<Finding>& findings) {
  std::vector<std::string> notes;
  for (const Finding& finding : findings)
    if (finding.state == FindingState::Degraded)
      notes.push_back(fmt::format("{}: {}", finding.name, finding.detail));
  return notes;
}

AgentStatus about(const std::vector<Finding>& findings) {
  AgentStatus status;
  status.version = SLOGATE_VERSION;
  struct utsname name {};
  if (uname(&name) == 0) status.kernel = name.release;
  const TickTime moment = now();
  status.started = moment.system;
  status.began = moment.monotonic;
  status.notes = notes_of(findings);
  return status;
}

// All of a good file takes effect, or what of it can while running; a bad one changes nothing.
void reload(const CommandLine& line, const Config& started, Agent& agent) {
  const auto read = read_settings(line);
  if (!read) return log_line("the configuration was not changed");
  if (const auto done = agent.apply(*read); !done)
    return log_line(done.error().within("the configuration was not changed").line());
  log_line("configuration reloaded");
  if (const std::string waiting = needs_restart(started, *read); !waiting.empty())
    log_line(waiting);
}

std::string_view describe(Origin origin) {
  switch (origin) {
    case Origin::made:
      return "counting from zero";
    case Origin::adopted:
      return "counting went on while no agent was here";
    case Origin::folded:
      return "the counts of another version were taken over";
  }
  return "";
}

// What is found here before anything is made.
struct Host {
  std::string cgroup_root;
  AgentStatus about;
  KernelFeatures features;
};

Result<Host> look_at_host(const CommandLine& line) {
  const HostRoots roots;
  const std::vector<Finding> findings = inspect_host(roots);
  if (auto usable = require_host(findings); !usable) return fail(usable.error());
  auto cgroup_root = line.cgroup_root.empty() ? find_cgroup2(roots) : line.cgroup_root;
  if (!cgroup_root) return fail(cgroup_root.error());
  auto features = read_kernel_features();
  if (!features) return fail(features.error());
  return Host{std::move(*cgroup_root), about(findings), std::move(*features)};
}

// The wires between the agent and the other parts; `kubernetes` and `peers` are null where there
// are none.
Agent::Options options_of(const CommandLine& line, const Config& config, Host host,
                          Exporter& exporter, Page& page, Kubernetes* kubernetes, Peers* peers) {
  Agent::Options options{
      .cgroup_root = std::move(host.cgroup_root),
      .pin_dir = line.pin_dir == "none" ? "" : line.pin_dir,
      .state_dir = config.state_dir,
      .outcomes = config.outcomes,
      .about = std::move(host.about),
      .features = std::move(host.features),
      .config = config,
      .ceiling = slots_for,
      .wait_on_threads = true,
      .on_apply = [&exporter, &page, listens = config.listen.has_value()](const LiveConfig& live) {
        exporter.apply(live.metrics);
        page.apply(listens ? live.page : PageFor::Off);
      }};
  options.peers = peers;
  options.enforce = config.enforce;
  options.features.read_answers = config.outcomes != Outcomes::Off;
  if (config.listen)  // or nobody would ever ask
    options.on_tick = [&exporter](const Snapshot& snapshot, TickTime moment) {
      exporter.tick(snapshot, moment);
    };
  if (kubernetes == nullptr) return options;
  options.on_pod_writes = [kubernetes](PodWrites writes) { kubernetes->write(std::move(writes)); };
  options.node = kubernetes->node();
  if (peers == nullptr || !config.peer_listen) return options;
  options.on_peer_search = [kubernetes](std::vector<PeerSearch> searches) {
    kubernetes->search(std::move(searches));
  };
  options.peer_port = config.peer_listen->port;
  return options;
}

// Only what is judged is read more often than once a second, and only for that the loop wakes up.
class Rhythm {
 public:
  Rhythm(Agent& agent, Page& page, EventLoop& loop) : agent_(agent), page_(page), loop_(loop) {}

  void tick() {
    const TickTime moment = now();
    if (reads_ == 0) {
      agent_.tick(moment);
      page_.tick(*agent_.snapshot(), moment);
    } else {
      agent_.judge(moment);
    }
    const bool judges = agent_.judges();
    reads_ = judges ? (reads_ + 1) % kReadsPerTick : 0;
    const auto done = loop_.set_interval(judges ? kReadInterval : kTickInterval);
    if (!done) log_line(done.error().line());
  }

 private:
  Agent& agent_;
  Page& page_;
  EventLoop& loop_;
  size_t reads_ = 0;  // since the last tick
};

// Until a signal ends it.
Result<void> live(EventLoop& loop, Agent& agent, Page& page, Kubernetes* kubernetes,
                  const std::function<void()>& on_hangup) {
  loop.watch(agent.owner_events_fd(), [&agent] { agent.on_owner_events(now()); });
  if (kubernetes != nullptr)
    loop.watch(kubernetes->poll_fd(), [&agent, kubernetes] { kubernetes->hand_over(agent); });
  loop.watch(agent.work_queue().poll_fd(), [&agent] { agent.work_queue().work(); });
  Rhythm rhythm(agent, page, loop);
  return loop.run({
      .tick = [&rhythm] { rhythm.tick(); },
      .signal =
          [&on_hangup](int signal) {
            if (signal == SIGHUP) on_hangup();
            return signal == SIGHUP;
          },
  });
}

// What is looked at there is what `agent` publishes, which is made later.
Page::Options page_options(const Config& config, const Kubernetes* kubernetes,
                           const std::unique_ptr<Agent>& agent) {
  struct utsname name {};
  ::uname(&name);
  return {.node = kubernetes ? kubernetes->node() : name.nodename,
          .api_is_open = config.api_listen.has_value(),
          .latest = [&agent] { return agent->snapshot(); },
          .addresses = [] { return read_node_addresses(); }};
}

// What is made later uses what was made before, and goes first.
Result<void> run(const CommandLine& line, const Config& config) {
  auto host = look_at_host(line);
  if (!host) return fail(host.error());
  // Before any other thread, so that all of them leave these signals to the loop.
  auto loop = EventLoop::make(kReadInterval, {SIGTERM, SIGINT, SIGHUP});
  if (!loop) return fail(loop.error());
  Exporter exporter(MetricsSettings{});
  auto access = kubernetes_access(config);
  if (!access) return fail(access.error());
  const auto kubernetes = *access ? std::make_unique<Kubernetes>(std::move(**access)) : nullptr;
  // Its socket and its keys take privileges that are given up later.
  const auto peers = make_peers(config, kubernetes.get());
  if (!peers) return fail(peers.error());
  std::unique_ptr<Agent> started;
  Page page(page_options(config, kubernetes.get(), started));
  auto made = Agent::start(
      options_of(line, config, std::move(*host), exporter, page, kubernetes.get(), peers->get()));
  if (!made) return fail(made.error());
  started = std::move(*made);
  Agent& agent = *started;
  agent.tick(now());
  const auto servers = serve(agent, exporter, page, config);
  if (!servers) return fail(servers.error());
  if (kubernetes)
    if (auto done = kubernetes->start(); !done) return done;
  if (*peers) (*peers)->start();
  log_line(fmt::format("version {}, API on {}; {}", SLOGATE_VERSION, config.socket,
                       describe(agent.origin())));
  const auto ended =
      live(*loop, agent, page, kubernetes.get(), [&] { reload(line, config, agent); });
  // Peers go first, and may still wait for what it says of a token.
  if (kubernetes) kubernetes->stop();
  return ended;
}

// What a large answer or a burst of cgroups took is given back: glibc keeps up to 64 MB free at the
// end of each thread's heap, which malloc_trim() does not touch, once blocks of that size have been
// freed.
void keep_heap_small() {
  constexpr int most = 4 << 20;
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_TRIM_THRESHOLD, most);
  mallopt(M_MMAP_THRESHOLD, most);
}

int main_of(const CommandLine& line) {
  if (line.unpin) {
    const auto done = unpin_all(line.pin_dir);
    if (!done) log_line(done.error().line());
    return done ? 0 : kCannotStart;
  }
  auto config = read_settings(line);
  if (!config) return kBadUsage;
  if (line.check) {
    log_line("the configuration is good");
    return 0;
  }
  keep_heap_small();
  const auto done = run(line, *config);
  if (!done) log_line(done.error().line());
  return done ? 0 : kCannotStart;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  CLI::App app("Measures what each workload of this node does to its users, in the kernel.",
               "slogate-agent");
  slogate::CommandLine line;
  slogate::define(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : slogate::kBadUsage;
  }
  return slogate::main_of(line);
}
