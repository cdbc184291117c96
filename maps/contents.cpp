// SPDX-License-Identifier: Apache-2.0
#include "maps/contents.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "maps/bpf_map.h"
#include "maps/maps.h"

namespace slogate {
namespace {

using Row = std::vector<MapContents::Value>;

void add(MapContents& contents, Row row) {
  if (contents.rows.size() < kMaxContents)
    contents.rows.push_back(std::move(row));
  else
    ++contents.left_out;
}

// "service", or "service:8080" where a port is counted apart.
std::string class_name(uint32_t class_, uint32_t port) {
  std::string name =
      class_ < kClasses.size() ? std::string(kClasses[class_]) : std::to_string(class_);
  return port == 0 ? name : fmt::format("{}:{}", name, port);
}

template <typename Value>
Result<Value> only_value(int fd) {
  Value value{};
  const __u32 zero = 0;
  if (const int error = bpf_map_lookup_elem(fd, &zero, &value); error != 0)
    return fail(bpf_error("cannot read the map", error));
  return value;
}

// Every entry of a hash. One that is removed during the walk starts it again, so it is bounded, and
// no entry shows twice.
template <typename Key, typename Value, typename ToRow>
void walk_hash(int fd, MapContents& contents, const ToRow& to_row) {
  const auto facts = map_facts(fd);
  const size_t most = facts ? size_t{2} * facts->entries : 0;
  std::vector<Row> rows;
  Key key{}, next{};
  Value value{};
  const Key* at = nullptr;
  for (size_t i = 0; i < most && bpf_map_get_next_key(fd, at, &next) == 0; ++i) {
    key = next;
    at = &key;
    if (bpf_map_lookup_elem(fd, &key, &value) == 0) rows.push_back(to_row(key, value));
  }
  std::ranges::sort(rows);
  const auto again = std::ranges::unique(rows);
  rows.erase(again.begin(), again.end());
  for (Row& row : rows) add(contents, std::move(row));
}

// ---- one function for each map ----

uint64_t samples(const Counts& counts) {
  return std::transform_reduce(counts.histograms.begin(), counts.histograms.end(), uint64_t{0},
                               std::plus(), count);
}

Result<MapContents> slab(const Maps& maps) {
  MapContents contents{{"slot", "use", "generation", "cgroup", "class", "samples"}, {}};
  Counts counts;
  const auto reserved = [&](size_t slot, std::string use, const Counts& of) {
    add(contents, {slot, std::move(use), uint64_t{0}, uint64_t{0}, "", samples(of)});
  };
  reserved(SLOGATE_UNATTRIBUTED, "unattributed", maps.slab().unattributed());
  reserved(SLOGATE_TOTALS, "removed", maps.slab().totals());
  for (size_t slot = SLOGATE_FIRST_SLOT; slot < maps.slab().slots(); ++slot) {
    const Owner owner = maps.slab().owner(slot);
    if (owner.cgroup == 0) continue;
    counts = {};
    maps.slab().copy(slot, counts);
    add(contents, {slot, "cgroup", uint64_t{owner.generation}, owner.cgroup,
                   class_name(owner.class_, owner.port), samples(counts)});
  }
  return contents;
}

Result<MapContents> index(const Maps& maps) {
  MapContents contents{{"cgroup", "class", "slot", "generation"}, {}};
  walk_hash<slogate_key, slogate_ref>(
      maps.index().fd(), contents, [](const slogate_key& key, const slogate_ref& ref) -> Row {
        return {uint64_t{key.cgroup}, class_name(key.class_, key.port), uint64_t{ref.slot},
                uint64_t{ref.generation}};
      });
  return contents;
}

Result<MapContents> free_slots(const Maps& maps) {
  MapContents contents{{"place", "slot"}, {}};
  const auto control = only_value<slogate_control>(maps.fd("slogate_control"));
  if (!control) return fail(control.error());
  for (__u32 n = control->free_taken; n != control->free_listed; ++n) {
    const __u32 place = n % SLOGATE_FREE_SLOTS;
    __u64 slot = 0;
    if (bpf_map_lookup_elem(maps.fd("slogate_free"), &place, &slot) == 0)
      add(contents, {uint64_t{place}, uint64_t{slot}});
  }
  return contents;
}

Result<MapContents> left_out(const Maps& maps) {
  MapContents contents{{"cgroup", "samples"}, {}};
  for (const auto& [cgroup, lost] : maps.left_out()) add(contents, {cgroup, lost});
  return contents;
}

Result<MapContents> classes(const Maps& maps) {
  MapContents contents{{"port", "peer", "class"}, {}};
  walk_hash<slogate_class_key, slogate_class_rule>(
      maps.fd("slogate_classes"), contents,
      [](const slogate_class_key& key, const slogate_class_rule& rule) -> Row {
        return {key.port == 0 ? MapContents::Value("any") : MapContents::Value(uint64_t{key.port}),
                key.peer != 0 ? "this node" : "any", class_name(rule.class_, rule.port)};
      });
  return contents;
}

std::string address_text(const slogate_address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* done = inet_ntop(AF_INET6, address.bytes, text.data(), text.size());
  return done != nullptr ? done : "?";
}

Result<MapContents> node(const Maps& maps) {
  MapContents contents{{"address"}, {}};
  walk_hash<slogate_address, __u32>(
      maps.fd("slogate_node"), contents,
      [](const slogate_address& address, __u32) -> Row { return {address_text(address)}; });
  return contents;
}

Result<MapContents> listeners(const Maps& maps) {
  MapContents contents{{"netns", "address", "port", "listening", "cgroup"}, {}};
  walk_hash<slogate_listener_key, slogate_listener>(
      maps.fd("slogate_listeners"), contents,
      [](const slogate_listener_key& key, const slogate_listener& listener) -> Row {
        return {uint64_t{key.netns}, address_text(key.address), uint64_t{key.port},
                uint64_t{listener.listening}, uint64_t{listener.cgroup}};
      });
  return contents;
}

Result<MapContents> control(const Maps& maps) {
  MapContents contents{{"field", "value"}, {}};
  const auto value = only_value<slogate_control>(maps.fd("slogate_control"));
  if (!value) return fail(value.error());
  for (size_t site = 0; site < kSites.size(); ++site)
    add(contents, {fmt::format("lost {}", kSites[site].name), uint64_t{value->lost[site]}});
  add(contents, {"epoch", uint64_t{value->epoch}});
  add(contents, {"programs_epoch", uint64_t{value->programs_epoch}});
  add(contents, {"class_rules", uint64_t{value->class_rules}});
  add(contents, {"node_netns", uint64_t{value->node_netns}});
  add(contents, {"heartbeat_ns", uint64_t{value->heartbeat}});
  add(contents, {"unlisted", uint64_t{value->unlisted}});
  add(contents, {"free_taken", uint64_t{value->free_taken}});
  add(contents, {"free_listed", uint64_t{value->free_listed}});
  add(contents, {"fold_copy", uint64_t{value->fold >> 63}});
  add(contents, {"fold_slot", uint64_t{(value->fold >> 32) & 0x7fffffff}});
  return contents;
}

Result<MapContents> runs(const Maps& maps) {
  MapContents contents{{"line", "program", "runs", "timed", "timed_ns"}, {}};
  for (__u32 line = 0; line < SLOGATE_RUN_LINES; ++line) {
    slogate_runs of_line{};
    if (bpf_map_lookup_elem(maps.fd("slogate_runs"), &line, &of_line) != 0) continue;
    for (size_t i = 0; i < kProbes.size(); ++i)
      if (of_line.runs[i] != 0)
        add(contents, {uint64_t{line}, std::string(kProbes[i].name), uint64_t{of_line.runs[i]},
                       uint64_t{of_line.timed[i]}, uint64_t{of_line.timed_ns[i]}});
  }
  return contents;
}

Result<MapContents> schema(const Maps& maps) {
  MapContents contents{{"field", "value"}, {}};
  const auto value = only_value<slogate_schema>(maps.fd("slogate_schema"));
  if (!value) return fail(value.error());
  add(contents, {"abi", uint64_t{value->abi}});
  add(contents, {"slot_bytes", uint64_t{value->slot_bytes}});
  add(contents, {"chunk_slots", uint64_t{value->chunk_slots}});
  add(contents, {"signals", uint64_t{value->signals}});
  add(contents, {"buckets", uint64_t{value->buckets}});
  add(contents, {"counters", uint64_t{value->counters}});
  add(contents, {"drops", uint64_t{value->drops}});
  add(contents, {"programs_hash", uint64_t{value->programs}});
  return contents;
}

Result<MapContents> events(const Maps&) {
  return fail("the entries of slogate_events are consumed as they come",
              "what they said is in slogate_slab");
}

Result<MapContents> http2(const Maps&) {
  return fail("the entries of slogate_http2 lie with their sockets",
              "slogate maps shows how many streams are open, slogate_sockets the sockets");
}

Result<MapContents> news(const Maps&) {
  return fail("the entries of slogate_news say no more than whose they are",
              "what is remembered of sockets is in slogate_sockets");
}

struct Reader {
  std::string_view name;
  Result<MapContents> (*read)(const Maps&);
};

constexpr std::array<Reader, 13> kReaders = {{{"slogate_slab", slab},
                                              {"slogate_index", index},
                                              {"slogate_free", free_slots},
                                              {"slogate_left_out", left_out},
                                              {"slogate_listeners", listeners},
                                              {"slogate_classes", classes},
                                              {"slogate_node", node},
                                              {"slogate_control", control},
                                              {"slogate_runs", runs},
                                              {"slogate_schema", schema},
                                              {"slogate_events", events},
                                              {"slogate_news", news},
                                              {"slogate_http2", http2}}};

// include/net/tcp_states.h
std::string state_name(uint32_t state) {
  constexpr std::array<const char*, 14> names = {
      "",          "ESTABLISHED", "SYN_SENT",     "SYN_RECV",      "FIN_WAIT1",
      "FIN_WAIT2", "TIME_WAIT",   "CLOSE",        "CLOSE_WAIT",    "LAST_ACK",
      "LISTEN",    "CLOSING",     "NEW_SYN_RECV", "BOUND_INACTIVE"};
  return state < names.size() ? names[state] : std::to_string(state);
}

std::string role_name(uint16_t role) {
  constexpr std::array<const char*, 4> names = {"", "server", "client", "listener"};
  return role < names.size() ? names[role] : std::to_string(role);
}

}  // namespace

Result<MapContents> read_contents(const Maps& maps, std::string_view name) {
  const auto found = std::ranges::find(kReaders, name, &Reader::name);
  if (found == kReaders.end()) return fail(fmt::format("map {} cannot be read", name));
  return found->read(maps);
}

MapContents socket_contents(const Maps& maps, const std::vector<slogate_inflight>& sockets,
                            uint64_t now_ns) {
  MapContents contents{
      {"cgroup", "class", "slot", "generation", "role", "port", "state", "open_ns"}, {}};
  for (const slogate_inflight& socket : sockets) {
    const Owner owner =
        socket.ref.slot < maps.slab().slots() ? maps.slab().owner(socket.ref.slot) : Owner{};
    const bool current = owner.generation == socket.ref.generation;
    const uint64_t age = socket.opened != 0 && now_ns > socket.opened ? now_ns - socket.opened : 0;
    add(contents,
        {current ? owner.cgroup : uint64_t{0}, current ? class_name(owner.class_, owner.port) : "",
         uint64_t{socket.ref.slot}, uint64_t{socket.ref.generation}, role_name(socket.role),
         uint64_t{socket.port}, state_name(socket.state), age});
  }
  return contents;
}

}  // namespace slogate
