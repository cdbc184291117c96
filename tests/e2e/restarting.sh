#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A canary that goes away and comes back: its port is open for 3 s and closed for 1 s, and then its
# cgroup is another one. Neither passes, and what it refuses is counted as its client saw it.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2

config=$work/slogate.yaml
slos_of_arms >"$config"
port=$(free_port $((30000 + RANDOM % 10000)))

# serve SECONDS: the canary's server, all of them on one port.
serve() {
  mkdir -p "$cgroup_dir/canary/a"
  run_in_cgroup "$cgroup_dir/canary/a" "$programs/slogate-load" --max-seconds "$1" serve \
    --port "$port" >/dev/null 2>&1 &
  server=$!
  track "$server"
  wait_until 10 port_is_taken "$port" || fail "the canary does not listen"
}
# ask SECONDS: its client, with 40 new connections a second; what it saw goes to $work/seen.
ask() {
  run_in_cgroup "$(make_cgroup load)" "$programs/slogate-load" --max-seconds 600 drive \
    --port "$port" --connect-per-request --think 25ms --duration "$1s" >"$work/seen" 2>&1 &
  client=$!
  track "$client"
}
# counted FAMILY KEY: of the canary, cgroups that are gone and listed included.
counted() {
  api "/v1/cgroups?match=$cgroup_prefix/canary/a" |
    jq "[.[].counters.$1.server$2] | add // 0"
}
refused_by_client() { grep '^{' "$work/seen" | jq '.connect_errors.ECONNREFUSED // 0'; }
all_are_counted() { [ "$(counted connection_errors .refused)" -eq "$(refused_by_client)" ]; }
expect_all_counted() {
  wait "$client" || fail "the client failed: $(cat "$work/seen")"
  [ "$(refused_by_client)" -gt 0 ] || fail "nothing was refused: $(cat "$work/seen")"
  wait_until 5 all_are_counted ||
    fail "the client saw $(refused_by_client) refused, of which $(counted connection_errors .refused) are counted"
}
holds_for() { [ "$(of bounded reason)" = restarting ] && [[ $(of bounded message) == *"$1"* ]]; }

# 48 s, as in the report of a pass after 46 s. The client goes first: what nobody listened to yet is
# nobody's failure.
start_agent --config "$config"
start_arm stable --service constant:1ms
serve 3
ask 48
for ((round = 0; round < 12; round++)); do
  [ "$round" -eq 0 ] || serve 3
  ! wait_until 3 is_gone "$server" || true
  wait "$server" || true
  for slo in demo bounded; do
    ! is "$slo" pass || fail "$slo passes after $((round * 4)) s: $(of "$slo" message)"
  done
  sleep 1
done
expect_all_counted
passed "up 3 s, down 1 s: $(refused_by_client) of $(jq .attempted <(grep '^{' "$work/seen")) refused; demo: $(of demo verdict), $(of demo message); bounded: $(of bounded reason), $(of bounded message)"
gaps_are() { [ "$(counted listener_gaps '')" -eq "$1" ]; }
gaps_are 11 || fail "$(counted listener_gaps '') gaps instead of 11"
serve 600
# Its gap must have been read before the new rollout, or it would be the new rollout's.
wait_until 5 gaps_are 12 || fail "$(counted listener_gaps '') gaps instead of 12"
wait_until 5 holds_for "listener" || fail "bounded holds for another reason: $(of bounded message)"

# A new rollout, which is good until its cgroup is another one of the same path.
new_rollout
ask 30
expect_exit 0 slogate gate bounded --wait --timeout 25s
stop_process "$server"
remove_cgroup "$cgroup_dir/canary/a"
serve 600
wait_until 15 holds_for cgroup || fail "bounded holds for another reason: $(of bounded message)"
passed "another cgroup: $(of bounded reason), $(of bounded message)"
stop_agent
