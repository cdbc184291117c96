// SPDX-License-Identifier: Apache-2.0
#include "maps/bpf_map.h"

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>

#include "maps/file.h"
#include "maps/integer.h"

namespace slogate {

Error bpf_error(std::string_view what, int errno_value) {
  const int code = errno_value < 0 ? -errno_value : errno_value;
  Error error = system_error(what, code);
  if (code == EPERM)
    error.remedy = "run as root or with CAP_BPF and CAP_PERFMON";
  else if (code == ENOMEM || code == EAGAIN)
    error.remedy = "raise the memory limit of the agent's cgroup or lower maps.memory_ratio";
  return error;
}

Result<MapFacts> map_facts(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (const int error = bpf_obj_get_info_by_fd(fd, &info, &size); error != 0)
    return fail(bpf_error("cannot ask about a map", error));
  return MapFacts{info.id,         info.type,        info.key_size,
                  info.value_size, info.max_entries, info.map_flags};
}

std::optional<uint64_t> missed_runs(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return std::nullopt;
  // Maps have less to say.
  if (size < offsetof(bpf_prog_info, recursion_misses) + sizeof(info.recursion_misses))
    return std::nullopt;
  return info.recursion_misses;
}

uint64_t charged_bytes(int fd) {
  constexpr std::string_view key = "\nmemlock:\t";
  const std::string info = read_file(fmt::format("/proc/self/fdinfo/{}", fd)).value_or("");
  const size_t at = info.find(key);
  if (at == std::string::npos) return 0;
  const std::string_view rest = std::string_view(info).substr(at + key.size());
  return parse_integer<uint64_t>(leading_digits(rest)).value_or(0);
}

}  // namespace slogate
