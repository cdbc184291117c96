#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent as an operator meets it: start, configuration, signals, a second agent, the end.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2

config=$work/slogate.yaml
agent() { "$programs/slogate-agent" "$@"; }

# Arguments and configuration.
expect_exit 2 agent --no-such-option
printf 'cgroups: { include: ["/slogate-e2e-*/**"] }\n' >"$config"
expect_exit 0 agent --config "$config" --check
printf 'listen: nowhere\nmaps: { memory_ratio: 7, sizee: 3 }\n' >"$work/bad.yaml"
expect_exit 2 agent --config "$work/bad.yaml" --check
for position in "$work/bad.yaml:1:9" "$work/bad.yaml:2:" sizee; do
  [[ $output == *"$position"* ]] || fail "--check does not name $position: $output"
done
expect_exit 2 agent --config "$work/missing.yaml" --check
expect_exit 0 agent --config "$root/daemonset/slogate.yaml" --check
passed "--check tells a good configuration from a bad one, and where it is bad"

# It runs, and says so.
start_agent --config "$config"
[ "$(api /v1/status | jq -r .version)" != null ] || fail "no version in /v1/status"
[ "$(api /v1/probes | jq '[.[] | select(.attached)] | length')" -ge 8 ] ||
  fail "fewer than 8 probes are attached: $(api /v1/probes)"
expect_exit 0 slogate doctor
expect_exit 0 slogate probes
expect_exit 0 slogate maps
expect_exit 22 api /v1/nothing
[[ $output == *'"error"'* ]] || fail "404 without an error: $output"
[ "$(stat -c %a "$socket")" = 660 ] || fail "the socket's mode is $(stat -c %a "$socket")"
passed "it runs, and says so"

# Metrics that promtool likes.
curl --silent --fail "http://$metrics/metrics" >"$work/metrics"
promtool check metrics <"$work/metrics" || fail "promtool does not like the metrics"
grep -q '^slogate_build_info{.*} 1' "$work/metrics" || fail "no slogate_build_info"
passed "promtool likes the metrics"

# A bad file changes nothing, a good one takes effect.
ticks() { api /v1/status | jq .ticks; }
cp "$work/bad.yaml" "$config"
kill -HUP "$agent_pid"
said() { grep -q "$1" "$work/agent.log"; }
wait_until 5 said "configuration was not changed" || fail "SIGHUP with a bad file goes unmentioned"
printf 'cgroups: { include: ["/nothing"] }\n' >"$config"
kill -HUP "$agent_pid"
wait_until 5 said "configuration reloaded" || fail "SIGHUP with a good file goes unmentioned"
shows_nothing() { [ "$(api /v1/cgroups | jq length)" = 0 ]; }
wait_until 5 shows_nothing || fail "the new configuration does not take effect"
! said restart || fail "a restart is asked for: $(grep restart "$work/agent.log")"
# What cannot change now is named, until it is what the agent runs with again; the rest takes effect.
printf 'admin_uids: [7]\nstate_dir: /elsewhere\n' >"$config"
kill -HUP "$agent_pid"
wait_until 5 said ': admin_uids needs a restart$' ||
  fail "the key that needs a restart is not named: $(tail -n 3 "$work/agent.log")"
shows_all() { [ "$(api /v1/cgroups | jq length)" != 0 ]; }
wait_until 5 shows_all || fail "what else is in the file does not take effect"
passed "SIGHUP: a bad file changes nothing, a good one takes effect, what needs a restart is named"

# A second agent on the same socket.
expect_exit 1 agent --socket "$socket" --listen "127.0.0.1:$(free_port 31000)" --pin-dir none
[[ $output == *"$socket"* ]] || fail "the second agent does not name the socket: $output"
api /v1/status >/dev/null || fail "the second agent took the first one's socket"
passed "a second agent stays out"

# Resizing by hand is for root.
resize() { api "/v1/maps/$1/resize" --request POST --data "{\"entries\": $2}"; }
resize slogate_slab 500 >/dev/null
[ "$(api /v1/maps | jq '.[] | select(.name == "slogate_slab").capacity')" -ge 500 ] ||
  fail "resize had no effect"
resize slogate_index 2000 >/dev/null
expect_exit 22 resize slogate_control 7
expect_exit 22 resize slogate_slab -1
as_nobody=(runuser -u nobody -- curl --silent --fail --unix-socket "$socket")
chmod 755 "$work"
expect_exit 7 "${as_nobody[@]}" http://localhost/v1/status
passed "resizing by hand is for root"

stop_agent
[ ! -e "$socket" ] || fail "the socket is still there"
passed "it ends when asked to, and takes its socket along"
