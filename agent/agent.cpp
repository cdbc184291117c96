// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "agent/base/log.h"
#include "agent/breaker_wishes.h"
#include "agent/host/addresses.h"
#include "maps/file.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// Addresses come and go with interfaces; rules about peers on this node may lag this far behind.
constexpr auto kAddressInterval = 10s;
// kube-proxy gives this device the address of every Service, from which nothing comes.
constexpr std::string_view kOfServices = "kube-ipvs0";
// How often sockets are walked where the agent is beyond its budget and nothing is judged; each
// tick elsewhere.
constexpr auto kThriftyInventory = 5s;
// An agent that dies without pins takes all counts with it.
constexpr auto kPinInterval = 5s;
// Free memory on the heap, in bytes, that is worth the milliseconds it takes to give it back.
constexpr auto kHeapInterval = 60s;
constexpr size_t kWorthATrim = size_t{2} << 20;
// Changes of verdicts that wait for a disk to have room again.
constexpr size_t kMostUnsaved = 1000;
// Until a configuration has been applied.
constexpr double kNoCpuLimit = 1;
// A caller of the API waits no longer than this for a change to be made.
constexpr auto kPatience = 5s;

// Those of the node, whatever part of them this process may use.
unsigned node_cpus() {
  return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

std::chrono::nanoseconds own_cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// What is left out, as a sentence; "" for nothing.
std::string describe(const CpuStatus& cpu) {
  if (cpu.step == 0) return "";
  const uint32_t one_in = watched_one_in(cpu.step);
  return fmt::format("beyond cpu_ratio, {:g} % of the node: {}{}", 100 * cpu.budget,
                     cpu.off.empty() ? "every signal is needed by an SLO" : "queue is not measured",
                     one_in == 1 ? "" : fmt::format(", one connection in {} is watched", one_in));
}

// Of the network namespace that these addresses are of. 0, which none has, where the kernel does
// not say: before 5.14.
uint64_t read_netns_cookie() {
  const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return ::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

std::string address_text(const std::string& host, uint16_t port) {
  return host.contains(':') ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

// Those of the configuration have no names but their addresses.
std::vector<Candidate> to_candidates(const std::vector<ListenAddress>& peers) {
  std::vector<Candidate> candidates;
  for (const ListenAddress& peer : peers) {
    const std::string text = address_text(peer.host, peer.port);
    candidates.push_back({.address = text, .name = text});
  }
  return candidates;
}

std::vector<Candidate> to_candidates(const std::vector<PeerNode>& nodes, uint16_t port) {
  std::vector<Candidate> candidates;
  for (const PeerNode& one : nodes)
    candidates.push_back({.address = address_text(one.address, port), .name = one.node});
  return candidates;
}

// A line of the audit log.
Json to_json(const BreakerChange& change) {
  return {{"breaker",
           {{"slo", change.slo},
            {"rollout", change.rollout},
            {"state", change.open ? "open" : "closed"},
            {"since", to_rfc3339_ms(change.time)},
            {"message", change.message}}}};
}

// Ids of cgroups are used once in a boot.
std::string read_boot() {
  const auto id = read_file("/proc/sys/kernel/random/boot_id", 64);
  return id.value_or("");
}

}  // namespace

Agent::Agent(WorkQueue work_queue, std::string cgroup_root)
    : work_queue_(std::move(work_queue)),
      names_(cgroup_root),
      budget_(kNoCpuLimit, node_cpus()),
      cgroup_root_(std::move(cgroup_root)) {}

Result<std::unique_ptr<Agent>> Agent::start(Options options) {
  auto work_queue = WorkQueue::make();
  if (!work_queue) return fail(work_queue.error());
  std::unique_ptr<Agent> agent(new Agent(std::move(*work_queue), options.cgroup_root));
  if (auto done = agent->open(std::move(options)); !done) return fail(done.error());
  return agent;
}

Result<void> Agent::open(Options options) {
  if (!options.pin_dir.empty()) {
    auto pins = PinDir::open(options.pin_dir);
    if (!pins) return fail(pins.error());
    pins_.emplace(std::move(*pins));
  }
  const PinDir* pins = pins_ ? &*pins_ : nullptr;
  auto maps = Maps::open(pins);
  if (!maps) return fail(maps.error());
  maps_.emplace(std::move(*maps));

  auto events = OwnerEvents::open(*maps_, [this](const slogate_owner_event& event) {
    if (auto path = owner_path(event)) names_.learn(event.cgroup, std::move(*path));
  });
  if (!events) return fail(events.error());
  events_.emplace(std::move(*events));

  sizer_.emplace(*maps_);
  ceiling_ = std::move(options.ceiling);
  on_apply_ = std::move(options.on_apply);
  on_tick_ = std::move(options.on_tick);
  on_pod_writes_ = std::move(options.on_pod_writes);
  node_ = std::move(options.node);
  peers_ = options.peers;
  on_peer_search_ = std::move(options.on_peer_search);
  peer_port_ = options.peer_port;
  enforce_ = std::move(options.enforce);
  analysis_.know_peers(peers_ != nullptr);
  state_path_ = std::move(options.state_dir);
  boot_ = read_boot();
  outcomes_ = options.outcomes;
  maps_->control().read_answers(outcomes_ == Outcomes::All);
  if (on_pod_writes_) pods_.expect_pods();
  analysis_.know_pods(on_pod_writes_ != nullptr);
  // Room and rules before the first event.
  if (auto done = apply(std::move(options.config)); !done) return done;
  if (auto done = sizer_->keep_room(now()); !done) return done;
  maps_->control().set_node_netns(read_netns_cookie());
  if (auto done = maps_->set_node_addresses(read_node_addresses()); !done) return done;
  auto probes = Probes::attach(*maps_, options.features, pins);
  if (!probes) return fail(probes.error());
  probes_.emplace(std::move(*probes));
  make_breaker();
  if (options.wait_on_threads) maps_->resizer().wait_on_threads();
  collector_.emplace(*maps_, *probes_, names_, pods_, *events_, *sizer_, options.features,
                     std::move(options.about), config_.cgroups);
  return {};
}

void Agent::tick(TickTime now) {
  refresh_node_addresses(now);
  keep_pins(now);
  look_at_heap(now);
  auto snapshot = std::make_shared<Snapshot>(
      Snapshot{collector_->tick(now, leaves_out_optional() ? kThriftyInventory : 0s)});
  snapshot->agent.cpu = keep_budget(*snapshot, now);
  snapshot->agent.heap = heap_;
  if (cluster_) snapshot->kubernetes = kubernetes_status();
  if (peers_ != nullptr) snapshot->peers = peers_->status();
  hear_peers(now);
  analysis_.tick(*snapshot->workloads, now);
  tell_peers();
  choose_answers();
  if (breaker_) breaker_->learn(breaker_wishes(*snapshot->workloads, now), now);
  enforce(*snapshot->workloads, now);
  event_book_.compare(*snapshot);
  if (on_tick_) on_tick_(*snapshot, now);
  save();
  publish(std::move(snapshot));
  write_pods(now);
}

void Agent::judge(TickTime now) {
  const auto before = snapshot_.load();
  if (!judges() || !before) return;
  hear_peers(now);
  analysis_.read(collector_->read(analysis_.cgroups()), now);
  tell_peers();
  enforce(*before->workloads, now);
  if (publish(std::make_shared<Snapshot>(*before))) write_pods(now);
}

// What has come since the last look, for this one.
void Agent::hear_peers(TickTime now) {
  if (peers_ == nullptr) return;
  for (Lent& one : peers_->take()) switch (one.what) {
      case Lent::What::Asked:
        analysis_.ask_lender(one.question.slo, one.lender, now);
        break;
      case Lent::What::Answered:
        analysis_.lend(one.question, one.lender, std::move(one.answer), now);
        break;
      case Lent::What::Dropped:
        analysis_.drop_lender(one.question.slo, one.lender);
        break;
    }
}

void Agent::tell_peers() {
  if (peers_ == nullptr) return;
  Wanted wanted{.baselines = analysis_.wanted(), .rollouts = analysis_.wanted_evidence()};
  Lendable lendable{.readings = analysis_.take_lendable(), .evidence = {}};
  for (const LentQuestion& question : wanted.rollouts)
    if (auto evidence = analysis_.evidence_of(question.slo))
      lendable.evidence.emplace(question.slo, std::move(*evidence));
  peers_->lend(std::move(lendable));
  search_peers(wanted);
  peers_->want(std::move(wanted));
}

// Nodes are looked for only while something is wanted of them.
void Agent::search_peers(const Wanted& wanted) {
  if (!on_peer_search_ || !cluster_) return;
  PeerWishes wishes;
  for (const LentQuestion& question : wanted.baselines) wishes.lenders.insert(question.slo);
  for (const LentQuestion& question : wanted.rollouts) wishes.witnesses.insert(question.slo);
  if (wishes.lenders.empty() && wishes.witnesses.empty()) return on_peer_search_({});
  std::vector<Slo> slos = config_.slos;
  slos.insert(slos.end(), pod_slos_.slos.begin(), pod_slos_.slos.end());
  on_peer_search_(peer_searches(*cluster_, slos, wishes));
}

void Agent::hand_candidates() {
  std::map<std::string, Candidates> by_slo;
  for (const auto& [slo, nodes] : cluster_->peers) {
    by_slo.emplace(slo, Candidates{.lenders = to_candidates(nodes->lenders, peer_port_),
                                   .witnesses = to_candidates(nodes->witnesses, peer_port_)});
    std::vector<std::string> canary_nodes;
    for (const PeerNode& one : nodes->witnesses) canary_nodes.push_back(one.node);
    analysis_.set_canary_nodes(slo, canary_nodes);
  }
  peers_->set_candidates(std::move(by_slo));
}

// A veto is on the disk before anyone is told of it. Whether a verdict changed.
bool Agent::publish(std::shared_ptr<Snapshot> snapshot) {
  const auto changes = analysis_.take_changes();
  const auto breaker_changes = breaker_ ? breaker_->take_changes() : std::vector<BreakerChange>{};
  if (!changes.empty()) keep(changes);
  for (const BreakerChange& change : breaker_changes) breaker_unsaved_.push_back(change);
  while (breaker_unsaved_.size() > kMostUnsaved) breaker_unsaved_.pop_front();
  if (!breaker_changes.empty()) save();
  event_book_.add(changes);
  event_book_.add(breaker_changes);
  snapshot->verdicts = analysis_.verdicts();
  if (breaker_) snapshot->breakers = breaker_->status();
  snapshot->events = event_book_.list();
  snapshot_.store(std::move(snapshot));
  return !changes.empty() || !breaker_changes.empty();
}

void Agent::keep(const std::vector<VerdictChange>& changes) {
  for (const VerdictChange& change : changes)
    log_line(fmt::format("{}: {}: {}", change.now->slo,
                         kDecisions[static_cast<size_t>(change.now->decision)],
                         change.now->message));
  vetoes_unsaved_ = true;
  for (const VerdictChange& change : changes) changes_unsaved_.push_back(change);
  while (changes_unsaved_.size() > kMostUnsaved) changes_unsaved_.pop_front();
  save();
}

// What fails is tried again with every tick: the disk may have been full, or the directory gone.
void Agent::save() {
  open_state();
  if (!state_) return;
  const auto done = [this]() -> Result<void> {
    if (vetoes_unsaved_)
      if (auto written = state_->write_vetoes(analysis_.vetoes()); !written) return written;
    vetoes_unsaved_ = false;
    if (auto written = save_weights(); !written) return written;
    if (auto written = save_closed(); !written) return written;
    for (; !changes_unsaved_.empty(); changes_unsaved_.pop_front())
      if (auto appended = state_->append(changes_unsaved_.front()); !appended) return appended;
    for (; !breaker_unsaved_.empty(); breaker_unsaved_.pop_front())
      if (auto appended = state_->append(to_json(breaker_unsaved_.front())); !appended)
        return appended;
    return {};
  }();
  log_change("state", done ? "" : done.error().line());
  if (!done) state_.reset();
}

// A step of the traffic in each half minute or so.
Result<void> Agent::save_weights() {
  std::vector<KeptWeight> weights = analysis_.weights();
  if (weights == weights_saved_) return {};
  if (auto written = state_->write_weights(weights, boot_); !written) return written;
  weights_saved_ = std::move(weights);
  return {};
}

Result<void> Agent::save_closed() {
  if (!breaker_) return {};
  std::vector<ClosedByHand> closed = breaker_->closed_by_hand();
  if (closed == closed_saved_) return {};
  std::vector<std::pair<std::string, std::string>> list;
  for (const ClosedByHand& one : closed) list.emplace_back(one.slo, one.rollout);
  if (auto written = state_->write_closed(list); !written) return written;
  closed_saved_ = std::move(closed);
  return {};
}

void Agent::restore_closed() {
  const auto closed = state_->read_closed();
  if (!closed) return log_line(closed.error().line());
  for (const auto& [slo, rollout] : *closed) closed_saved_.push_back({slo, rollout});
  if (breaker_) breaker_->restore(closed_saved_);
}

Vetoes Agent::vetoes() const {
  Vetoes vetoes;
  for (const LatchedVeto& veto : analysis_.vetoes())
    vetoes.emplace(VetoKey(veto.verdict.slo, veto.canary), veto.verdict.message);
  return vetoes;
}

// In words that do not change with every answer: an event is posted once for each.
Vetoes Agent::blind() const {
  Vetoes blind;
  const auto verdicts = analysis_.verdicts();
  for (size_t i = 0; i < verdicts->list.size(); ++i) {
    if (verdicts->list[i]->reason != Reason::OutcomesUnknown) continue;
    const Slo& slo = verdicts->slos[i]->slo;
    blind.emplace(
        VetoKey(slo.name, selector_text(slo.canary)),
        fmt::format("it is held, since too little is known of what it answers to tell of errors: "
                    "slogate verdict {}",
                    slo.name));
  }
  return blind;
}

Holds Agent::holds() const {
  Holds holds;
  const auto verdicts = analysis_.verdicts();
  for (size_t i = 0; i < verdicts->list.size(); ++i) {
    const Verdict& verdict = *verdicts->list[i];
    const bool lacks = verdict.reason == Reason::InsufficientSamples;
    if (verdict.decision != Decision::Hold || !(lacks || verdict.expected_seconds)) continue;
    if (verdict.log_e >= kSuspicion) continue;  // time alone does not bring a pass
    const Slo& slo = verdicts->slos[i]->slo;
    holds.emplace(VetoKey(slo.name, selector_text(slo.canary)), verdict.expected_seconds);
  }
  return holds;
}

PodSlos Agent::slos_of_cluster() const {
  if (!cluster_) return {};
  std::set<std::string> taken;
  for (const Slo& slo : config_.slos) taken.insert(slo.name);
  return slos_of_pods(*cluster_, vetoes(), taken);
}

// What the configuration says goes first, and so do its ports, of which there is a limit.
Result<void> Agent::set_slos(PodSlos of_pods, TickTime now) {
  std::vector<Slo> all = config_.slos;
  std::vector<SloProblem> problems = of_pods.problems;
  for (const Slo& slo : of_pods.slos) {
    all.push_back(slo);
    if (!slo.port || to_class_rules(config_.classes, all).size() <= SLOGATE_CLASS_RULES) continue;
    all.pop_back();
    problems.push_back(
        {slo.name, fmt::format("port {} is one too many: there is room for {} rules of ports",
                               *slo.port, SLOGATE_CLASS_RULES)});
  }
  if (auto done = maps_->set_class_rules(to_class_rules(config_.classes, all)); !done) return done;
  for (Slo& slo : all)
    if (std::string note = enforce_note(slo, enforce_, on_pod_writes_ != nullptr, breaker_problem_);
        !note.empty())
      slo.notes.push_back(std::move(note));
  analysis_.set_slos(all, now);
  analysis_.set_problems(std::move(problems));
  pod_slos_ = std::move(of_pods);
  return {};
}

void Agent::open_state() {
  const bool used = !config_.slos.empty() || on_pod_writes_;
  if (!used || state_) return;
  auto state = StateDir::open(state_path_);
  if (!state) return log_change("state", state.error().line());
  state_.emplace(std::move(*state));
  // Once, as what is reset later may still be on the disk.
  if (std::exchange(restored_, true)) return;
  restore_vetoes();
  restore_weights();
  restore_closed();
}

void Agent::restore_vetoes() {
  const auto vetoes = state_->read_vetoes();
  if (!vetoes) return log_line(vetoes.error().line());
  for (const LatchedVeto& veto : *vetoes)
    restored_vetoes_.emplace(veto.verdict.slo, veto.verdict.rollout);
  if (const size_t restored = analysis_.restore(*vetoes); restored != 0)
    log_line(fmt::format("{} of {} vetoes of before are in force again", restored, vetoes->size()));
}

void Agent::restore_weights() {
  auto weights = state_->read_weights(boot_);
  if (!weights) return log_line(weights.error().line());
  weights_saved_ = *weights;
  analysis_.restore_weights(std::move(*weights));
}

void Agent::on_cluster(std::shared_ptr<const Cluster> cluster, TickTime now) {
  const bool same_peers = cluster_ && cluster_->peers == cluster->peers;
  cluster_ = std::move(cluster);
  pods_.set_pods(cluster_->pods);
  if (on_peer_search_ && !same_peers) hand_candidates();
  // Most of what the API server tells changes no SLO.
  if (PodSlos next = slos_of_cluster(); next != pod_slos_) {
    const auto done = set_slos(std::move(next), now);
    log_change("SLOs of pods", done ? "" : done.error().line());
  }
  if (const auto last = snapshot(); last && breaker_) {
    enforce(*last->workloads, now);
    publish(std::make_shared<Snapshot>(*last));
  }
  write_pods(now);
}

void Agent::write_pods(TickTime now) {
  if (!cluster_ || !on_pod_writes_) return;
  on_pod_writes_(
      readiness_.look(*cluster_, pod_slos_, vetoes(), blind(), holds(), now, refused_pods()));
}

// An agent that cannot refuse measures and judges all the same, and says so.
void Agent::make_breaker() {
  if (enforce_.mode == EnforceMode::Off) return;
  auto breaker = Breaker::make({.exempt = enforce_.exempt,
                                .sockets = maps_->fd("slogate_sockets"),
                                .cgroup_root = cgroup_root_});
  breaker_problem_ = breaker ? "" : breaker.error().line();
  log_change("breaker", breaker_problem_);
  if (!breaker) {
    (void)set_slos(slos_of_cluster(), now());  // says so at each of them
    return;
  }
  breaker_ = std::move(*breaker);
  breaker_->restore(closed_saved_);
  breaker_->set_node_addresses(read_node_addresses(kOfServices));
  readiness_.set_enforces(true);
}

std::vector<BreakerWish> Agent::breaker_wishes(const std::vector<Workload>& workloads,
                                               TickTime now) {
  const std::string trouble = !cluster_                    ? ""
                              : !cluster_->trouble.empty() ? cluster_->trouble
                                                           : cluster_->stale;
  if (trouble.empty())
    trouble_since_.reset();
  else if (!trouble_since_)
    trouble_since_ = now.monotonic;
  const auto verdicts = analysis_.verdicts();
  return slogate::breaker_wishes(
      {.config = enforce_,
       .verdicts = *verdicts,
       .workloads = workloads,
       .restored = restored_vetoes_,
       .on_kubernetes = on_pod_writes_ != nullptr,
       .heard = cluster_ && cluster_->synced,
       .away = cluster_ ? Readiness::away(*cluster_, vetoes()) : std::set<std::string>{},
       .silent = analysis_.without_baseline(),
       .trouble = trouble,
       .trouble_for = trouble_since_ ? now.monotonic - *trouble_since_ : 0ns});
}

// Before anything of it is on the disk or told: whoever dies in between refuses nothing.
void Agent::enforce(const std::vector<Workload>& workloads, TickTime now) {
  if (breaker_) breaker_->look(breaker_wishes(workloads, now), now);
}

// By uid, and how it is said.
std::map<std::string, std::string> Agent::refused_pods() const {
  std::map<std::string, std::string> refused;
  const auto last = snapshot_.load();
  if (!cluster_ || !last || !last->breakers) return refused;
  for (const BreakerStatus& status : last->breakers->list)
    for (const auto& pod : cluster_->pods)
      if (status.open && !pod->gone &&
          std::ranges::find(status.targets, fmt::format("{}/{}", pod->namespace_, pod->name)) !=
              status.targets.end())
        refused.emplace(pod->uid, status.dry_run ? "new connections to it would be refused"
                                                 : "new connections to it are refused");
  return refused;
}

KubernetesStatus Agent::kubernetes_status() const {
  return {.node = node_,
          .synced = cluster_->synced,
          .trouble = cluster_->trouble.empty() ? cluster_->write_trouble : cluster_->trouble,
          .pods = static_cast<size_t>(
              std::ranges::count_if(cluster_->pods, [](const auto& pod) { return !pod->gone; }))};
}

void Agent::on_owner_events(TickTime now) {
  events_->drain();
  const auto done = sizer_->keep_room_if_short(now);
  log_change("maps", done ? "" : done.error().line());
}

void Agent::refresh_node_addresses(TickTime now) {
  if (now.monotonic < next_addresses_) return;
  next_addresses_ = now.monotonic + kAddressInterval;
  const std::vector<slogate_address> addresses = read_node_addresses();
  if (breaker_) breaker_->set_node_addresses(read_node_addresses(kOfServices));
  const auto done = maps_->set_node_addresses(addresses);
  log_change("node addresses", done ? "" : done.error().line());
}

// Where all answers are read, or none can be, nobody asks the slots. Beyond the budget those that
// no SLO needs go first: without those of a canary its verdict would hold for as long.
void Agent::choose_answers() {
  if (outcomes_ == Outcomes::Off) return;
  const bool all = outcomes_ == Outcomes::All && reads_all_answers(budget_.status().step);
  // The slots before the word: no answer of a canary goes unread in between.
  if (!all) {
    const std::unordered_set<uint64_t> judged = analysis_.cgroups();
    for (size_t i = SLOGATE_FIRST_SLOT; i < maps_->slab().slots(); ++i)
      maps_->slab().read_answers(i, judged.contains(maps_->slab().owner(i).cgroup));
  }
  maps_->control().read_answers(all);
}

void Agent::keep_pins(TickTime now) {
  if (!pins_ || now.monotonic < next_pins_) return;
  next_pins_ = now.monotonic + kPinInterval;
  const size_t before = pins_->is_reachable() ? pins_->names().size() : 0;
  Result<void> done = pins_->is_reachable() ? Result<void>{} : pins_->make_anew();
  if (done) done = maps_->keep_pins();
  if (done) done = probes_->keep_pins(*pins_, maps_->control().programs_epoch());
  log_change("pins", done ? "" : done.error().line());
  if (const size_t after = pins_->names().size(); done && after > before)
    log_line(fmt::format("{} pins were gone and are there again", after - before));
}

// The heap keeps what a burst of cgroups took, 10 KB and more for each, unless it is asked.
void Agent::look_at_heap(TickTime now) {
  if (now.monotonic < next_heap_) return;
  next_heap_ = now.monotonic + kHeapInterval;
  const struct mallinfo2 heap = mallinfo2();
  heap_ = {heap.uordblks + heap.hblkhd, heap.fordblks};
  if (heap.fordblks > kWorthATrim) malloc_trim(0);
}

// Without an SLO nobody needs the request in flight of this second, and nothing is multiplexed.
bool Agent::leaves_out_optional() const {
  return budget_.status().step >= kOptionalStep && !judges();
}

CpuStatus Agent::keep_budget(const Snapshot& seen, TickTime now) {
  budget_.look({.agent = own_cpu_time(), .programs = program_cost_.add(seen.probes)},
               now.monotonic);
  CpuStatus cpu = budget_.status();
  if (leaves_out_optional()) cpu.off = optional_programs();
  const uint32_t one_in = watched_one_in(cpu.step);
  cpu.watched = 1.0 / one_in;
  uint32_t off = 0;
  for (const slogate_probe probe : cpu.off) off |= 1u << probe;
  if (one_in < watched_one_in_) collector_->visit_all(now);
  watched_one_in_ = one_in;
  maps_->control().spare(off, one_in - 1);
  log_change("CPU", describe(cpu));
  return cpu;
}

Result<void> Agent::apply(LiveConfig config) {
  std::swap(config_, config);
  if (auto done = set_slos(slos_of_cluster(), now()); !done) {
    std::swap(config_, config);
    // A part of the rules may be in the kernel.
    (void)set_slos(slos_of_cluster(), now());
    return done;
  }
  // Nothing fails from here on.
  sizer_->set_limits({ceiling_(config_.maps.memory_ratio), config_.maps.grace});
  budget_.set_ratio(config_.cpu_ratio);
  if (peers_ != nullptr) peers_->set_peers(to_candidates(config_.peers), config_.lenders);
  open_state();
  if (on_apply_) on_apply_(config_);
  return {};
}

WorkQueue::Outcome Agent::resize(const std::string& map, size_t entries) {
  return work_queue_.run([this, map, entries] { return resize_now(map, entries); }, kPatience);
}

WorkQueue::Outcome Agent::resize_now(const std::string& map, size_t entries) {
  const TickTime moment = now();
  Result<void> done;
  if (map == "slogate_slab")
    done = sizer_->resize_slab(entries, moment);
  else if (map == "slogate_index")
    done = maps_->resizer().resize_index(entries, "by hand", moment.system);
  else
    return fail(fmt::format("map {} cannot be resized", map),
                "those that can are slogate_slab and slogate_index");
  if (!done) return fail(done.error());
  tick(moment);
  const auto rows = snapshot()->maps;
  const auto row = std::ranges::find(rows, map, &MapStatus::name);
  // The kernel may take its time to replace the index, or to let go of what is no longer needed.
  const size_t possible = map == "slogate_slab" ? sizer_->possible(entries) : entries;
  const char* under_way = row->capacity < possible                         ? " and grows"
                          : row->capacity > possible + SLOGATE_CHUNK_SLOTS ? " and shrinks"
                                                                           : "";
  const char* limited = possible < entries ? "; maps.memory_ratio allows no more" : "";
  return fmt::format("{} has {} entries{}{}", map, row->capacity, under_way, limited);
}

WorkQueue::Outcome Agent::reset(const std::string& slo) {
  return work_queue_.run([this, slo] { return reset_now(slo); }, kPatience);
}

WorkQueue::Outcome Agent::reset_now(const std::string& slo) {
  const TickTime moment = now();
  if (auto done = analysis_.reset(slo, moment); !done) return fail(done.error());
  enforce(*snapshot()->workloads, moment);
  publish(std::make_shared<Snapshot>(*snapshot()));
  write_pods(moment);
  return fmt::format("a new rollout of {} begins", slo);
}

WorkQueue::Outcome Agent::set_breaker(const std::string& slo, bool open) {
  return work_queue_.run([this, slo, open] { return set_breaker_now(slo, open); }, kPatience);
}

WorkQueue::Outcome Agent::set_breaker_now(const std::string& slo, bool open) {
  if (!breaker_)
    return fail("this agent enforces nothing", "docs/enforcement.md says what it takes");
  const TickTime moment = now();
  if (auto done = open ? breaker_->open(slo, moment) : breaker_->close(slo); !done)
    return fail(done.error());
  enforce(*snapshot()->workloads, moment);
  publish(std::make_shared<Snapshot>(*snapshot()));
  write_pods(moment);
  save();
  const auto breakers = snapshot()->breakers;
  const BreakerStatus* status = breakers->find(slo);
  if (status == nullptr) return fail(fmt::format("SLO {} enforces nothing", slo));
  if (open && !status->open) {
    breaker_->undo_open(slo);
    enforce(*snapshot()->workloads, moment);
    publish(std::make_shared<Snapshot>(*snapshot()));
    return fail(fmt::format("the breaker of {} stays closed: {}", slo,
                            status->note.empty() ? "there is nothing to refuse" : status->note));
  }
  return fmt::format("the breaker of {} is {}", slo, open ? "open" : "closed");
}

Result<MapContents> Agent::contents(const std::string& map) {
  Result<MapContents> contents;
  const auto done = work_queue_.run(
      [this, &map, &contents]() -> WorkQueue::Outcome {
        contents = contents_now(map);
        return "";
      },
      kPatience);
  if (!done) return fail(done.error());
  return contents;
}

// Every socket that is remembered, reached through the iterator of the inventory.
Result<MapContents> Agent::sockets_now() {
  const auto sockets = probes_->take_inventory(SLOGATE_WALK_list);
  if (!sockets) return fail(sockets.error());
  return socket_contents(*maps_, *sockets, static_cast<uint64_t>(now().monotonic.count()));
}

Result<MapContents> Agent::contents_now(const std::string& map) {
  auto contents = map == "slogate_sockets" ? sockets_now() : read_contents(*maps_, map);
  if (!contents) return contents;
  const auto column = std::ranges::find(contents->columns, "cgroup");
  if (column == contents->columns.end()) return contents;
  const auto place = column - contents->columns.begin();
  contents->columns.insert(column + 1, "path");
  for (auto& row : contents->rows)
    row.insert(row.begin() + place + 1, names_.path(std::get<uint64_t>(row[place])));
  return contents;
}

Result<void> unpin_all(const std::string& pin_dir) {
  std::error_code error;
  if (!std::filesystem::exists(pin_dir, error)) return {};
  auto pins = PinDir::open(pin_dir);
  if (!pins) return fail(pins.error());
  return pins->remove_all();
}

TickTime now() {
  return {std::chrono::system_clock::now(), std::chrono::steady_clock::now().time_since_epoch()};
}

}  // namespace slogate
