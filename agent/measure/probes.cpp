// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/probes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/host/host.h"
#include "agent/measure/program_objects.h"
#include "maps/bpf_map.h"

namespace slogate {
namespace {

// libbpf explains itself through a callback without a context: what it said since the last clear.
thread_local std::string libbpf_said;  // NOLINT(readability-identifier-naming): not a constant

int keep_message(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || libbpf_said.size() > (1u << 16)) return 0;
  // The verifier's whole log comes as one message.
  char* text = nullptr;
  if (vasprintf(&text, format, arguments) < 0) return 0;
  libbpf_said += text;
  free(text);
  return 0;
}

// Why a load failed, as briefly as the verifier lets us: the last line of its log that is not a
// statistic.
std::string reason_from_log(const std::string& log, int error) {
  std::string best;
  size_t start = 0;
  while (start < log.size()) {
    size_t end = log.find('\n', start);
    if (end == std::string::npos) end = log.size();
    const std::string_view line(log.data() + start, end - start);
    const bool about_libbpf = line.starts_with("libbpf:") || line.starts_with("--");
    if (!line.empty() && !about_libbpf && !line.starts_with("processed ")) best = line;
    start = end + 1;
  }
  const std::string what = system_error("the kernel refused it", error).message;
  return best.empty() ? what : what + ": " + best;
}

// The object with all that is put into it for this kernel and these maps.
Result<OpenObject> prepare(const ProgramObject& info, const Maps& maps,
                           const KernelFeatures& features, uint32_t epoch) {
  auto object = open_object(info);
  if (!object) return object;
  if (auto known = require_rows(**object, info.name); !known) return fail(known.error());
  if (auto done = set_constants(**object, constants_of(features, epoch)); !done)
    return fail(done.error());
  const auto shared = [&maps](std::string_view name) { return maps.fd(name); };
  if (auto done = share_maps(**object, shared); !done) return fail(done.error());
  choose_programs(**object, features);
  return object;
}

bool is_iterator(const bpf_program* program) {
  return bpf_program__expected_attach_type(program) == BPF_TRACE_ITER;
}

// Of the inventory that goes by slogate_roll.
bool is_run_by_hand(const bpf_program* program) {
  return bpf_program__type(program) == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

bpf_link* attach_to_sockets(const bpf_program* program, int map) {
  bpf_iter_link_info link{};
  link.map.map_fd = static_cast<__u32>(map);
  LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &link, .link_info_len = sizeof(link));
  return bpf_program__attach_iter(program, &options);
}

// FNV-1a, over the programs and what adapts them to this kernel. Never 0.
uint64_t programs_hash(const KernelFeatures& features) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&hash](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  };
  for (const ProgramObject& object : program_objects()) add(object.bytes());
  for (const ProbeInfo& info : kProbes)
    for (const Hook& hook : hooks_of(info, features)) add(hook.target + ";");
  for (const Constant& constant : constants_of(features, 0)) add(constant.bytes);
  return hash == 0 ? 1 : hash;
}

std::string link_pin(std::string_view program, uint32_t epoch) {
  return fmt::format("link_{}_{}", program, epoch);
}
std::string program_pin(std::string_view program, uint32_t epoch) {
  return fmt::format("program_{}_{}", program, epoch);
}

// Those of the epoch, or all others.
void remove_links(const PinDir& pins, uint32_t epoch, bool others) {
  const std::string suffix = fmt::format("_{}", epoch);
  for (const std::string& name : pins.names())
    if ((name.starts_with("link_") || name.starts_with("program_")) &&
        name.ends_with(suffix) != others)
      pins.unpin(name);
}

bool is_only_iterators(std::string_view object) {
  return std::none_of(kProbes.begin(), kProbes.end(), [object](const ProbeInfo& info) {
    return info.object == object && !info.is_iterator();
  });
}

}  // namespace

void Probes::LinkDeleter::operator()(bpf_link* link) const {
  bpf_link__destroy(link);
}

Probes::Probes(Maps& maps) : control_(&maps.control()), open_map_(maps.fd("slogate_open")) {
  for (size_t i = 0; i < kProbes.size(); ++i) status_[i].probe = static_cast<slogate_probe>(i);
}
Probes::Probes(Probes&&) noexcept = default;
Probes::~Probes() = default;

Result<Probes> Probes::attach(Maps& maps, const KernelFeatures& features, const PinDir* pins) {
  libbpf_set_print(keep_message);
  Probes probes(maps);
  const uint64_t hash = programs_hash(features);
  const uint32_t before = maps.control().programs_epoch();
  const bool same = pins != nullptr && before != 0 && maps.programs_hash() == hash &&
                    probes.adopt(*pins, features, before);
  // Programs of epoch 0 would count while nobody has said so.
  const uint32_t epoch = same ? before : std::max<uint32_t>(before + 1, 1);
  probes.load(maps, features, epoch, same);
  if (!probes.refused_.empty() && why_no_http2(features).empty())
    probes.load_without_http2(maps, features, epoch, same);
  probes.attach_all(maps, features);
  if (auto complete = probes.require_needed(); !complete) return fail(complete.error());
  // Before the programs begin to count, so that from then on they outlive this agent.
  if (pins != nullptr && !same) {
    remove_links(*pins, epoch, false);  // of an agent that died before it got further
    if (auto done = probes.keep_pins(*pins, epoch); !done) return fail(done.error());
  }
  // Here the new programs begin and the old ones end.
  if (auto done = maps.activate(epoch, hash); !done) return fail(done.error());
  if (pins != nullptr) remove_links(*pins, epoch, true);
  return probes;
}

// Takes up the programs that another agent left running, all or none.
bool Probes::adopt(const PinDir& pins, const KernelFeatures& features, uint32_t epoch) {
  decltype(attached_) found;
  for (const ProbeInfo& info : kProbes) {
    // It only runs when it is read, so the agent brings its own each time.
    if (info.is_iterator()) continue;
    for (const Hook& hook : hooks_of(info, features)) {
      const std::string name = link_pin(hook.program, epoch);
      // One that could not be attached then has no pin; it would fail again.
      if (!pins.has(name)) {
        if (info.need == Need::needed) return false;
        continue;
      }
      bpf_link* link = bpf_link__open(fmt::format("{}/{}", pins.path(), name).c_str());
      if (link == nullptr) return false;
      Attached& attached = found[hook.program];
      attached.link.reset(link);
      if (auto program = pins.get(program_pin(hook.program, epoch)))
        attached.program = std::move(*program);
    }
  }
  attached_ = std::move(found);
  return true;
}

void Probes::load(const Maps& maps, const KernelFeatures& features, uint32_t epoch, bool adopted) {
  for (const ProgramObject& info : program_objects()) {
    if (adopted && !is_only_iterators(info.name)) continue;
    libbpf_said.clear();
    auto object = prepare(info, maps, features, epoch);
    if (!object)
      refused_.emplace(info.name, object.error().line());
    else if (const int error = bpf_object__load(object->get()); error != 0)
      refused_.emplace(info.name, reason_from_log(libbpf_said, error));
    else
      objects_.push_back(std::move(*object));
  }
}

// What follows HTTP/2 is more than some kernels' verifiers look through; the rest goes on without
// it, and says so with the program that reads what arrives.
void Probes::load_without_http2(const Maps& maps, KernelFeatures features, uint32_t epoch,
                                bool adopted) {
  const auto refused = std::exchange(refused_, {});
  auto with = std::exchange(objects_, {});
  features.no_http2 = refused.begin()->second;
  load(maps, features, epoch, adopted);
  if (refused_.size() < refused.size()) {
    no_http2_ = features.no_http2;
    return;
  }
  // That was not it.
  refused_ = refused;
  objects_ = std::move(with);
}

void Probes::attach_all(const Maps& maps, const KernelFeatures& features) {
  for (ProbeStatus& status : status_) {
    const ProbeInfo& info = kProbes[status.probe];
    const std::vector<Hook> hooks = hooks_of(info, features);
    if (hooks.empty())
      status.reason = why_no_hooks(info, features);
    else if (const auto refused = refused_.find(info.object); refused != refused_.end())
      status.reason = refused->second;
    else
      attach_one(status, hooks, maps);
    status.attached = !hooks.empty() && status.reason.empty();
    if (status.attached && status.probe == SLOGATE_PROBE_answer_arrived && !no_http2_.empty())
      status.reason = "HTTP/2 is not followed: " + no_http2_;
    // Of two that stand in for each other one is enough; the other says what is lost.
    status.degraded =
        !status.attached && is_wanted(info, features) && stood_in_for(info) == nullptr;
  }
  // It does all of what it stands in for.
  if (status_[SLOGATE_PROBE_roll_call].attached) status_[SLOGATE_PROBE_inventory].degraded = false;
}

void Probes::attach_one(ProbeStatus& status, const std::vector<Hook>& hooks, const Maps& maps) {
  for (const Hook& hook : hooks) {
    if (!attached_.contains(hook.program)) status.reason = attach_program(hook.program, maps);
    if (!status.reason.empty()) return;
    programs_of_[status.probe].push_back(hook.program);
    status.attached_to += (status.attached_to.empty() ? "" : " ") + hook.target;
  }
}

std::string Probes::attach_program(const std::string& name, const Maps& maps) {
  for (const auto& object : objects_) {
    bpf_program* program = bpf_object__find_program_by_name(object.get(), name.c_str());
    if (program == nullptr) continue;
    auto attached = attach_to_kernel(program, maps);
    if (!attached) return attached.error().line();
    attached_[name] = std::move(*attached);
    return "";
  }
  return "it was missing when these programs were attached";
}

Result<Probes::Attached> Probes::attach_to_kernel(const bpf_program* program, const Maps& maps) {
  Attached attached;
  attached.program.reset(fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0));
  if (is_run_by_hand(program)) return attached;
  attached.link.reset(is_iterator(program) ? attach_to_sockets(program, maps.fd("slogate_news"))
                                           : bpf_program__attach(program));
  if (attached.link && is_iterator(program))
    attached.link_to_all.reset(attach_to_sockets(program, maps.fd("slogate_sockets")));
  if (!attached.link || (is_iterator(program) && !attached.link_to_all))
    return fail(bpf_error("cannot attach it", errno));
  return attached;
}

Result<void> Probes::require_needed() const {
  for (const ProbeStatus& status : status_) {
    const ProbeInfo& info = kProbes[status.probe];
    if (info.need == Need::needed && !status.attached)
      return fail(
          fmt::format("cannot attach {} ({}): {}", info.name, info.tracepoint, status.reason),
          "run `slogate doctor`");
  }
  return {};
}

Result<void> Probes::keep_pins(const PinDir& pins, uint32_t epoch) const {
  for (size_t probe = 0; probe < kProbes.size(); ++probe) {
    if (kProbes[probe].is_iterator()) continue;
    for (const std::string& program : programs_of_[probe])
      if (auto done = keep_pins(pins, epoch, program); !done) return done;
  }
  return {};
}

Result<void> Probes::keep_pins(const PinDir& pins, uint32_t epoch,
                               const std::string& program) const {
  const Attached& attached = attached_.at(program);
  const int link = bpf_link__fd(attached.link.get());
  if (auto done = pins.keep(link, link_pin(program, epoch)); !done) return done;
  if (!attached.program) return {};
  return pins.keep(attached.program.get(), program_pin(program, epoch));
}

Probes::Missed Probes::missed() const {
  Missed missed;
  for (size_t probe = 0; probe < missed.size(); ++probe) {
    missed[probe] = 0;
    for (const std::string& program : programs_of_[probe]) {
      const auto runs = missed_runs(attached_.at(program).program.get());
      missed[probe] = missed[probe] && runs ? std::optional(*missed[probe] + *runs) : std::nullopt;
    }
  }
  return missed;
}

std::vector<ProbeStatus> Probes::status(const slogate_runs& runs) const {
  std::vector<ProbeStatus> rows(status_.begin(), status_.end());
  for (ProbeStatus& row : rows) {
    row.runs = runs.runs[row.probe];
    row.timed = runs.timed[row.probe];
    row.skipped = runs.skipped[row.probe];
    row.timed_total = std::chrono::nanoseconds(runs.timed_ns[row.probe]);
  }
  return rows;
}

Result<std::vector<slogate_inflight>> Probes::take_inventory(slogate_walk walk) const {
  if (calls_roll()) return call_roll(walk);
  std::vector<slogate_inflight> open;
  const auto inventory = attached_.find(kProbes[SLOGATE_PROBE_inventory].name);
  if (inventory == attached_.end()) return open;
  control_->begin_inventory(walk);
  const Attached& attached = inventory->second;
  const auto& link =
      is_over_all(walk) && attached.link_to_all ? attached.link_to_all : attached.link;
  const Fd pass(bpf_iter_create(bpf_link__fd(link.get())));
  if (!pass) return fail(bpf_error("cannot start an inventory", errno));

  // The kernel ends a read once it has as many bytes. Were its own buffer full before that, of
  // eight pages, it would show the same socket twice.
  std::array<slogate_inflight, 1024> block;
  static_assert(sizeof(block) + SLOGATE_STREAMS * sizeof(slogate_inflight) <= size_t{8} << 12);
  for (;;) {
    const ssize_t got = read(pass.get(), block.data(), sizeof(block));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return fail(bpf_error("cannot take an inventory", errno));
    if (got == 0) return open;
    // The kernel's buffer holds whole records, and so does ours: none is cut in two.
    const auto* first = block.data();
    open.insert(open.end(), first, first + static_cast<size_t>(got) / sizeof(slogate_inflight));
  }
}

bool Probes::calls_roll() const {
  return attached_.contains(kProbes[SLOGATE_PROBE_roll_call].name);
}

// In passes of as many rows as its map has room for. What comes and goes between two of them may be
// missing, or there twice.
Result<std::vector<slogate_inflight>> Probes::call_roll(slogate_walk walk) const {
  std::vector<slogate_inflight> open;
  if (walk == SLOGATE_WALK_quiet) return open;  // nobody is taken off the roll
  control_->begin_inventory(walk);
  const int program =
      attached_.at(std::string(kProbes[SLOGATE_PROBE_roll_call].name)).program.get();
  const auto said = std::make_unique<slogate_open>();
  std::array<__u64, 1> context = {0};
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context.data(), .ctx_size_in = sizeof(context));
  for (;;) {
    if (const int error = bpf_prog_test_run_opts(program, &options); error != 0)
      return fail(bpf_error("cannot take an inventory", error));
    constexpr __u32 only = 0;
    if (const int error = bpf_map_lookup_elem(open_map_, &only, said.get()); error != 0)
      return fail(bpf_error("cannot read an inventory", error));
    const size_t left = said->rows - std::min<size_t>(said->rows, context[0]);
    const size_t rows = std::min<size_t>(left, SLOGATE_OPEN_ROWS);
    open.insert(open.end(), said->row, said->row + rows);
    if (left <= SLOGATE_OPEN_ROWS) return open;
    context[0] += SLOGATE_OPEN_ROWS;
  }
}

}  // namespace slogate
