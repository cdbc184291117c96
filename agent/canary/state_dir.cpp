// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/state_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "agent/canary/verdict_json.h"
#include "maps/file.h"

namespace slogate {
namespace {

constexpr const char* kVetoes = "vetoes.json";
constexpr const char* kWeights = "weights.json";
constexpr const char* kClosed = "closed.json";
constexpr const char* kAudit = "audit.jsonl";
constexpr const char* kOldAudit = "audit.jsonl.1";
constexpr int kForm = 1;  // of vetoes.json and weights.json

// More than the vetoes of all SLOs there can be.
constexpr size_t kMostBytes = size_t{16} << 20;
// Deeper than anything written here.
constexpr int kMostDepth = 16;

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error("cannot write", errno));
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

// An object of this form with a list of this name.
Result<void> parse_list(std::string_view text, const char* name, Json& json) {
  bool deep = false;
  const auto watch = [&deep](int depth, Json::parse_event_t, const Json&) {
    deep = deep || depth > kMostDepth;
    return !deep;
  };
  json = Json::parse(text, watch, false);
  if (deep || !json.is_object() || !json.contains(name) || !json[name].is_array())
    return fail(fmt::format("it is not a list of {}", name));
  if (json.value("form", Json()) != Json(kForm)) return fail("it is of another version");
  return {};
}

Result<std::vector<LatchedVeto>> parse_vetoes(std::string_view text) {
  Json json;
  if (auto done = parse_list(text, "vetoes", json); !done) return fail(done.error());
  std::vector<LatchedVeto> vetoes;
  for (const Json& one : json["vetoes"]) {
    if (!one.is_object() || !one.contains("canary") || !one["canary"].is_string() ||
        !one.contains("verdict"))
      return fail("an entry is not a veto");
    auto verdict = parse_verdict(one["verdict"]);
    if (!verdict) return fail(verdict.error());
    if (verdict->decision != Decision::Veto) return fail("an entry is not a veto");
    vetoes.push_back({one["canary"].get<std::string>(), std::move(*verdict)});
  }
  return vetoes;
}

bool is_text(const Json& one, const char* name) {
  return one.contains(name) && one[name].is_string();
}
bool is_kept_weight(const Json& one) {
  const auto is_id = [](const Json& id) { return id.is_number_unsigned(); };
  return one.is_object() && is_text(one, "slo") && is_text(one, "canary") &&
         is_text(one, "rollout") && one.contains("cgroups") && one["cgroups"].is_array() &&
         std::ranges::all_of(one["cgroups"], is_id) && one.contains("weight") &&
         one["weight"].is_number() && one["weight"] >= 0 && one["weight"] <= 100 &&
         one.contains("passed") && one["passed"].is_boolean();
}

Result<std::vector<KeptWeight>> parse_weights(std::string_view text, std::string_view boot) {
  Json json;
  if (auto done = parse_list(text, "weights", json); !done) return fail(done.error());
  std::vector<KeptWeight> weights;
  if (json.value("boot", Json()) != Json(boot)) return weights;
  for (const Json& one : json["weights"]) {
    if (!is_kept_weight(one)) return fail("an entry is not a weight");
    weights.push_back(
        {.slo = one["slo"].get<std::string>(),
         .canary = one["canary"].get<std::string>(),
         .rollout = one["rollout"].get<std::string>(),
         .cgroups = one["cgroups"].get<std::vector<uint64_t>>(),
         .earned = {.percent = one["weight"].get<double>(), .passed = one["passed"].get<bool>()}});
  }
  return weights;
}

}  // namespace

Result<StateDir> StateDir::open(const std::string& path) {
  std::error_code error;
  if (std::filesystem::create_directories(path, error))
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    Error cause = system_error(fmt::format("cannot open {}", path), errno);
    cause.remedy = "vetoes will not survive a restart; name another place with state_dir";
    return fail(std::move(cause));
  }
  return StateDir(path, std::move(fd));
}

Result<std::optional<std::string>> StateDir::read_text(const char* name) const {
  const Fd fd(::openat(directory_.get(), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return fail(system_error("cannot open", errno));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail("it is not a file", "remove it");
  auto text = read_file(fd.get(), kMostBytes + 1);
  if (!text) return fail(text.error());
  if (text->size() > kMostBytes) return fail(fmt::format("it has more than {} bytes", kMostBytes));
  return std::optional(std::move(*text));
}

Result<std::vector<LatchedVeto>> StateDir::read_vetoes() const {
  const std::string where = fmt::format("{}/{}", path_, kVetoes);
  const auto text = read_text(kVetoes);
  if (!text) return fail(text.error().within(where));
  if (!*text) return std::vector<LatchedVeto>{};
  auto vetoes = parse_vetoes(**text);
  if (!vetoes) {
    Error cause = vetoes.error().within(where);
    cause.remedy = "vetoes of before are not known: check the rollouts that are under way";
    return fail(std::move(cause));
  }
  return vetoes;
}

Result<std::vector<KeptWeight>> StateDir::read_weights(std::string_view boot) const {
  const std::string where = fmt::format("{}/{}", path_, kWeights);
  const auto text = read_text(kWeights);
  if (!text) return fail(text.error().within(where));
  if (!*text) return std::vector<KeptWeight>{};
  auto weights = parse_weights(**text, boot);
  if (!weights) {
    Error cause = weights.error().within(where);
    cause.remedy = "weights begin where every rollout's does";
    return fail(std::move(cause));
  }
  return weights;
}

// A reader finds the old file or the new one, also after a crash: the data is on the disk before
// the name, and the name before this returns.
Result<void> StateDir::write_file(const char* name, std::string_view text) const {
  const std::string fresh = fmt::format("{}.new", name);
  const Fd fd(::openat(directory_.get(), fresh.c_str(),
                       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail(system_error("cannot create", errno));
  if (auto done = write_all(fd.get(), text); !done) return done;
  if (::fsync(fd.get()) != 0) return fail(system_error("cannot write", errno));
  if (::renameat(directory_.get(), fresh.c_str(), directory_.get(), name) != 0)
    return fail(system_error("cannot rename", errno));
  ::fsync(directory_.get());
  return {};
}

Result<void> StateDir::write_vetoes(const std::vector<LatchedVeto>& vetoes) const {
  Json list = Json::array();
  for (const LatchedVeto& veto : vetoes)
    list.push_back({{"canary", veto.canary}, {"verdict", verdict_json(veto.verdict)}});
  const auto done = write_file(kVetoes, dump({{"form", kForm}, {"vetoes", std::move(list)}}));
  if (!done) return fail(done.error().within(fmt::format("{}/{}", path_, kVetoes)));
  return {};
}

Result<void> StateDir::write_weights(const std::vector<KeptWeight>& weights,
                                     std::string_view boot) const {
  Json list = Json::array();
  for (const KeptWeight& one : weights)
    list.push_back({{"slo", one.slo},
                    {"canary", one.canary},
                    {"rollout", one.rollout},
                    {"cgroups", one.cgroups},
                    {"weight", number(one.earned.percent)},
                    {"passed", one.earned.passed}});
  const auto done =
      write_file(kWeights, dump({{"form", kForm}, {"boot", boot}, {"weights", std::move(list)}}));
  if (!done) return fail(done.error().within(fmt::format("{}/{}", path_, kWeights)));
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> StateDir::read_closed() const {
  const std::string where = fmt::format("{}/{}", path_, kClosed);
  std::vector<std::pair<std::string, std::string>> closed;
  const auto text = read_text(kClosed);
  if (!text) return fail(text.error().within(where));
  if (!*text) return closed;
  Json json;
  if (auto done = parse_list(**text, "closed", json); !done)
    return fail(done.error().within(where));
  for (const Json& one : json["closed"]) {
    if (!one.is_object() || !is_text(one, "slo") || !is_text(one, "rollout"))
      return fail(fmt::format("{}: an entry is no breaker", where));
    closed.emplace_back(one["slo"].get<std::string>(), one["rollout"].get<std::string>());
  }
  return closed;
}

Result<void> StateDir::write_closed(
    const std::vector<std::pair<std::string, std::string>>& closed) const {
  Json list = Json::array();
  for (const auto& [slo, rollout] : closed) list.push_back({{"slo", slo}, {"rollout", rollout}});
  const auto done = write_file(kClosed, dump({{"form", kForm}, {"closed", std::move(list)}}));
  if (!done) return fail(done.error().within(fmt::format("{}/{}", path_, kClosed)));
  return {};
}

Result<void> StateDir::append(const VerdictChange& change) const {
  return append(Json{{"from", change.from}, {"verdict", verdict_json(*change.now)}});
}

Result<void> StateDir::append(const Json& json) const {
  const std::string where = fmt::format("{}/{}", path_, kAudit);
  Fd fd(::openat(directory_.get(), kAudit, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                 0600));
  if (!fd) return fail(system_error("cannot open", errno).within(where));
  std::string line = dump(json);
  off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size > 0 && static_cast<size_t>(size) + line.size() > kAuditBytes) {
    if (::renameat(directory_.get(), kAudit, directory_.get(), kOldAudit) != 0)
      return fail(system_error("cannot rename", errno).within(where));
    fd.reset(::openat(directory_.get(), kAudit,
                      O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(system_error("cannot open", errno).within(where));
    size = 0;
  } else if (char last = '\n'; size > 0 && ::pread(fd.get(), &last, 1, size - 1) == 1) {
    // Where an agent died in the middle of a line, the next one begins on its own.
    if (last != '\n') line.insert(0, "\n");
  }
  if (auto done = write_all(fd.get(), line); !done) {
    // Not half a line: it will be tried again.
    [[maybe_unused]] const int cut = ::ftruncate(fd.get(), size);
    return fail(done.error().within(where));
  }
  ::fdatasync(fd.get());
  return {};
}

}  // namespace slogate
