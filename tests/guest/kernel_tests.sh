#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/guest/kernel_tests.sh PACKAGE[/SUITE] [ARGUMENT...]
#
# Runs kernel_tests with these arguments under a Debian kernel, in a guest; exits as it does there,
# and with 77 when the kernel can't be had.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || usage_error "$(help_text)"

need_kernel "$1"
shift

# Left out: what compares times that an emulated machine does not keep, and what serves the load of
# real servers, which are not packed.
filter='-*Accuracy*:RollCall.TakesAsManyPassesAsItNeeds:Ceiling.OfAHundred*:Redis*:Nginx*:Postgres*:Peers*'
new_tree
pack "$programs/kernel_tests" "$(command -v ip)" "$(command -v tc)"
pack_modules veth tun sch_netem sch_tbf tls gcm ctr ghash_generic aesni_intel
printf '#!/usr/bin/env bash\ncd /tmp && exec %s "--gtest_filter=%s" %s\n' \
  "$programs/kernel_tests" "$filter" "${*@Q}" >"$tree/job"
boot 1200
