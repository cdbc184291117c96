#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/guest/host.sh [FILE]
#
# What agent.sh does in guests, here: leaves in FILE what an agent saw of traffic of every kind.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=traffic.sh
. "$(dirname "$0")/traffic.sh"
need_root
need_cgroup2
on_exit 'cleanup; leave_netns'
leave_netns() { (ip netns del "slogate-near-$$"; ip netns del "slogate-far-$$") 2>/dev/null || true; }

jq -n --arg kernel "$(uname -r)" '{kernel: $kernel}' >"$work/kernel.json"
start_agent --pin-dir none
traffic "$(make_cgroup all)" "$work/kernel.json"
slogate probes
stop_agent
[ -z "${1-}" ] || cp "$work/kernel.json" "$1"
