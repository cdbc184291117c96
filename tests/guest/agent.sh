#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/guest/agent.sh PACKAGE[/SUITE] [FILE]
#
# Starts the agent with its defaults under a Debian kernel, in a guest, and asks it about traffic of
# every kind; see inside.sh. What it said is left in FILE, for the table of kernels.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || usage_error "$(help_text)"

need_kernel "$1"
new_tree
mapfile -t tools < <(for tool in ip tc curl jq; do command -v "$tool"; done)
pack "${tools[@]}" "$programs"/slogate{,-agent,-load}
pack_modules veth sch_netem
cp "$root/tests/guest/traffic.sh" "$root/tools/lib.sh" "$tree/"
cp "$root/tests/guest/inside.sh" "$tree/job"
sed -i "s|^programs=.*|programs=$programs|" "$tree/job"
status=0
boot 170 || status=$?
[ -z "${2-}" ] || cp "$work/out/kernel.json" "$2" || true
exit "$status"
