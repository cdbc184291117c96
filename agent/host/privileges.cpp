// SPDX-License-Identifier: Apache-2.0
#include "agent/host/privileges.h"

#include <sys/capability.h>
#include <sys/prctl.h>

#include <cerrno>
#include <memory>

namespace slogate {
namespace {

struct Free {
  void operator()(cap_t set) const { cap_free(set); }
};
using Capabilities = std::unique_ptr<std::remove_pointer_t<cap_t>, Free>;

bool permits(const Capabilities& set, cap_value_t capability) {
  cap_flag_value_t flag = CAP_CLEAR;
  return cap_get_flag(set.get(), capability, CAP_PERMITTED, &flag) == 0 && flag == CAP_SET;
}

}  // namespace

Result<void> drop_privileges() {
  const Capabilities now(cap_get_proc());
  const Capabilities kept(cap_init());
  if (!now || !kept) return fail(system_error("cannot read the capabilities", errno));
  for (const cap_value_t capability : {CAP_BPF, CAP_SYS_ADMIN}) {
    if (!permits(now, capability)) continue;
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
      cap_set_flag(kept.get(), flag, 1, &capability, CAP_SET);
    break;
  }
  if (cap_set_proc(kept.get()) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    return fail(system_error("cannot give up privileges", errno));
  return {};
}

}  // namespace slogate
