#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/e2e/faults.sh [FAULT...]
#
# What goes wrong on nodes, and what is kept: all requests that were made before, meanwhile and after
# are counted, unless it is said. docs/reliability.md has the list.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
need_bpffs

pins=/sys/fs/bpf/slogate-e2e-$$
v1_limited= # a cgroup of v1
remove_own() {
  cleanup
  [ -z "$v1_limited" ] || rmdir "$v1_limited"
  "$programs/slogate-agent" --unpin --pin-dir "$pins"
}
on_exit remove_own

# ---- traffic ----

server=$(make_cgroup server)
client=$(make_cgroup client)
: >"$work/serve"
run_in_cgroup "$server" "$programs/slogate-load" --max-seconds 280 serve --port 0 >"$work/serve" &
track $!
wait_until 10 grep -q '^ready ' "$work/serve" || fail "the server is not ready"
port=$(awk '/^ready/ { print $2 }' "$work/serve")

# ask N: so many requests, of which each is answered.
asked=0
ask() {
  run_in_cgroup "$client" "$programs/slogate-load" drive --port "$port" --connections 4 --requests "$1" \
    >"$work/drive"
  asked=$((asked + $1))
}
requests_of() {
  api "/v1/cgroups?match=$cgroup_prefix/$1" | jq "[.[].signals.$2.count // 0] | add // 0"
}
all_counted() {
  [ "$(requests_of server request)" = "$asked" ] && [ "$(requests_of client client_request)" = "$asked" ]
}
# An agent that begins from zero.
begin() {
  asked=0
  start_agent "$@"
}
expect_all_counted() {
  wait_until 5 all_counted ||
    fail "$1: $asked requests were made, the server has $(requests_of server request), the client $(requests_of client client_request)"
  [ "$(api "/v1/cgroups?match=$cgroup_prefix/**" | jq '[.[].lost] | add')" = 0 ] || fail "$1: samples were lost"
}
said() { grep -q "$1" "$work/agent.log"; }
# in_trouble SUBJECT: what is wrong is in the status and in the metrics; well SUBJECT: not any more.
metric_is() { curl --silent "http://$metrics/metrics" | grep -xF "$1 $2" >/dev/null; }
in_trouble() { api /v1/status | jq -e ".problems.\"$1\"" >/dev/null && metric_is "slogate_problem{subject=\"$1\"}" 1; }
well() { api /v1/status | jq -e ".problems | has(\"$1\") | not" >/dev/null && metric_is "slogate_problem{subject=\"$1\"}" 0; }
slots() { api /v1/maps | jq '.[] | select(.name == "slogate_slab").capacity'; }
grow() {
  api /v1/maps/slogate_slab/resize --request POST --data "{\"entries\": $1}" >/dev/null &&
    [ "$(slots)" -ge "$1" ]
}
kill_agent() {
  kill -KILL "$agent_pid"
  wait "$agent_pid" 2>/dev/null || true
}
ticks() { api /v1/status | jq .ticks; }
wait_for_ticks() {
  local until
  until=$(($(ticks) + $1))
  ticked() { [ "$(ticks)" -ge "$until" ]; }
  wait_until $((3 * $1 + 10)) ticked || fail "the agent does not tick"
}
# In the mount namespace of the agent.
beside_agent() { nsenter --mount="/proc/$agent_pid/ns/mnt" "$@"; }

# ---- faults ----

# Links cannot be detached from tracepoints by anyone; their pins can be removed.
pins_are_removed() {
  local link
  begin --pin-dir "$pins"
  ask 100
  for link in "$pins"/link_*; do
    ! bpftool link detach pinned "$link" 2>/dev/null || fail "$link can be detached: the agent has to notice"
  done
  rm "$pins/link_data_ready_1" "$pins/owners" "$pins/chunk_0000"
  wait_until 10 said "3 pins were gone and are there again" || fail "single pins are not made anew"
  rm -r "$pins"
  ask 100
  grow 500 || fail "without pins the slab does not grow"
  wait_until 10 said "[0-9][0-9] pins were gone" || fail "pins are not made anew"
  kill_agent
  ask 100
  start_agent --pin-dir "$pins"
  expect_all_counted "removed pins"
  stop_agent
  rm -rf "$pins"
}

# Nothing can be pinned any more, until there is a bpffs again.
bpffs_goes() {
  agent_prefix="unshare --mount" begin --pin-dir "$pins"
  ask 100
  beside_agent umount -l /sys/fs/bpf
  wait_until 10 in_trouble pins || fail "nobody says that the pins are gone"
  grow 500 || fail "without bpffs the slab does not grow"
  ask 100
  expect_all_counted "no bpffs"
  beside_agent mount -t bpf bpf /sys/fs/bpf
  wait_until 10 well pins || fail "pins are not made on the new bpffs"
  beside_agent test -e "$pins/slogate_schema" || fail "the new bpffs has no pins"
  stop_agent
  rm -rf "$pins"
}

# Pins that are not the agent's, or not what they should be, are refused in one line with a remedy.
pins_are_wrong() {
  local agent=("$programs/slogate-agent" --socket "$work/second.sock" --listen "" --pin-dir "$pins")
  begin --pin-dir "$pins"
  stop_agent
  chown nobody "$pins"
  expect_exit 1 "${agent[@]}"
  [[ $output == *"belongs to another user"* ]] || fail "pins of another user: $output"
  chown root "$pins"
  local name
  for name in slogate_slab slogate_control slogate_free slogate_index chunk_0000; do
    mv "$pins/$name" "$pins/aside"
    bpftool map create "$pins/$name" type hash key 8 value 8 entries 8 name slogate_e2e
    expect_exit 1 "${agent[@]}"
    [[ $output == *--unpin* && $(wc -l <<<"$output") -eq 1 ]] || fail "another map as $name: $output"
    mv "$pins/aside" "$pins/$name"
  done
  "$programs/slogate-agent" --unpin --pin-dir "$pins"
}

# Of cgroups that went before an agent came it has the counts, but no names: their slots are freed all
# the same.
names_die_with_the_agent() {
  begin --pin-dir "$pins"
  ask 100
  "$programs/slogate-load" churn --port "$port" --parent "$(make_cgroup churn)" --cgroups 100 >"$work/churn"
  wait_for_ticks 2 # their names are read here
  kill_agent
  printf 'maps: { grace: 1s }\n' >"$work/slogate.yaml"
  start_agent --config "$work/slogate.yaml" --pin-dir "$pins"
  nameless() { api /v1/cgroups | jq 'map(select(.path == "")) | length'; }
  folded() {
    [ "$(nameless)" = 0 ] &&
      [ "$(api /v1/status | jq '.removed.signals.client_request.count // 0')" -ge 100 ]
  }
  wait_until 40 folded || fail "the slots of nameless cgroups are not freed: $(nameless)"
  [ "$(requests_of server request)" = $((asked + 100)) ] || fail "requests are missing"
  stop_agent
  "$programs/slogate-agent" --unpin --pin-dir "$pins"
}

# What is known of cgroups stays while their tree cannot be read.
cgroup2_goes() {
  printf 'maps: { grace: 1s }\n' >"$work/slogate.yaml"
  agent_prefix="unshare --mount" begin --config "$work/slogate.yaml"
  ask 100
  expect_all_counted "cgroup2"
  beside_agent umount -l "$(cgroup2_root)"
  wait_until 10 in_trouble "cgroup tree" || fail "nobody says that the tree is gone"
  ask 100
  wait_for_ticks 13 # it asks after a tenth of all cgroups each time, and their grace is a second
  expect_all_counted "no cgroup2"
  beside_agent mount -t cgroup2 none "$(cgroup2_root)"
  wait_until 10 well "cgroup tree" || fail "the tree is not found again"
  ask 100
  expect_all_counted "cgroup2 mounted again"
  stop_agent
}

node_is_hybrid() {
  begin
  local told
  told=$(api /v1/status | jq '[.notes[] | select(test("pods are invisible"))] | length')
  if grep -qE '^[^ ]+ [^ ]+ cgroup [^ ]*\b(cpu|memory|pids)\b' /proc/self/mounts; then
    [ "$told" = 1 ] || fail "on a hybrid node nobody says that pods are invisible"
  else
    [ "$told" = 0 ] || fail "pods are not invisible here"
  fi
  stop_agent
}

# More SIGHUPs than can be followed: the agent ticks on, and still ends when asked to.
sighups_storm() {
  slos_of_arms >"$work/slogate.yaml"
  begin --config "$work/slogate.yaml"
  while :; do kill -HUP "$agent_pid" 2>/dev/null || break; done &
  local storm=$!
  track "$storm"
  ask 1000
  wait_for_ticks 3
  expect_all_counted "SIGHUPs"
  stop_agent
  stop_process "$storm"
}

# A veto that finds no room on the disk is in force all the same, and is there when there is room.
disk_is_full() {
  local state=$work/small holder
  mkdir -p "$state"
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount sh -c 'mount -t tmpfs -o size=64k none "$0" && : >"$0/mounted" && exec sleep 300' "$state" &
  holder=$!
  track "$holder"
  local there=(nsenter --mount="/proc/$holder/ns/mnt")
  is_mounted() { "${there[@]}" test -e "$state/mounted"; }
  wait_until 10 is_mounted || fail "there is no small disk"
  cat >"$work/slogate.yaml" <<END
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary" }
    objectives: [{ signal: request, quantile: 0.99, max: 1ms }]
    warmup: 0s
END
  agent_prefix="${there[*]}" begin --config "$work/slogate.yaml" --state-dir "$state"
  ! "${there[@]}" dd if=/dev/zero of="$state/full" bs=1k status=none 2>/dev/null || fail "the disk is not full"
  start_arm canary --service constant:4ms
  wait_until 30 is demo veto || fail "no veto: $(of demo message)"
  wait_until 5 in_trouble state || fail "nobody says that the disk is full"
  said "audit.jsonl\|vetoes.json.*No space left" || fail "the log does not say that the disk is full"
  ask 100
  expect_all_counted "a full disk"
  "${there[@]}" rm "$state/full"
  wait_until 5 well state || fail "what could not be written is not written later"
  kill_agent
  stop_arm
  agent_prefix="${there[*]}" start_agent --config "$work/slogate.yaml" --state-dir "$state"
  is demo veto || fail "the veto was lost"
  [ "$("${there[@]}" cat "$state/audit.jsonl" | jq -r 'select(.verdict.verdict == "veto").verdict.slo')" = demo ] ||
    fail "the audit log does not have the veto once: $("${there[@]}" cat "$state/audit.jsonl")"
  stop_agent
  stop_process "$holder"
}

# The maps keep within what the agent's own cgroup may use.
memory_is_limited() {
  local v1 limited=
  v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/self/mounts)
  if [ -n "$v1" ]; then
    limited=$v1/slogate-e2e-$$
    mkdir "$limited"
    v1_limited=$limited
    echo $((64 << 20)) >"$limited/memory.limit_in_bytes"
  else
    echo +memory >"$cgroup_dir/cgroup.subtree_control" 2>/dev/null || true
    limited=$(make_cgroup limited)
    [ -e "$limited/memory.max" ] || { left_out "${fault//_/ }: no memory controller here" && return; }
    echo $((64 << 20)) >"$limited/memory.max"
  fi
  printf 'maps: { memory_ratio: 0.5 }\n' >"$work/slogate.yaml"
  agent_prefix="run_in_cgroup $limited" begin --config "$work/slogate.yaml"
  grow 20000 || true # as far as it may, with the next ticks
  as_far_as_possible() { [ "$(slots)" -ge 2200 ]; }
  wait_until 20 as_far_as_possible || fail "the slab does not grow below the limit: $(slots) slots"
  ask 100
  wait_for_ticks 3
  [ "$(slots)" -le 2450 ] || fail "the slab outgrows half of the limit: $(slots) slots"
  expect_all_counted "a memory limit"
  is_running "$agent_pid" || fail "the agent was killed"
  stop_agent
}

# 12,500 each: more descriptors a process may not have everywhere.
connections_by_the_hundred_thousand() {
  local i one=12500 ready=() idles=() servers=() pages
  pages=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
  ((pages > 4000000)) || { left_out "${fault//_/ }: 100,000 connections need 4 GB" && return; }
  begin
  for i in {1..8}; do
    : >"$work/many$i"
    run_in_cgroup "$(make_cgroup many)" "$programs/slogate-load" serve --port 0 --backlog 4096 >"$work/many$i" &
    servers+=("$!")
    track "$!"
    wait_until 10 grep -q '^ready ' "$work/many$i" || fail "a server is not ready"
    : >"$work/idle$i"
    run_in_cgroup "$(make_cgroup idle)" "$programs/slogate-load" idle --count "$one" \
      --port "$(awk '/^ready/ { print $2 }' "$work/many$i")" >"$work/idle$i" &
    idles+=("$!")
    track "$!"
  done
  connected() { [ "$(cat "$work"/idle? | grep -cx "ready $one")" = 8 ]; }
  wait_until 60 connected || fail "not all are connected: $(cat "$work"/idle?)"
  counted() {
    [ "$(api "/v1/cgroups?match=$cgroup_prefix/many" | jq .[0].counters.connections.server)" = 100000 ] &&
      [ "$(api "/v1/cgroups?match=$cgroup_prefix/idle" | jq .[0].counters.connections.client)" = 100000 ]
  }
  wait_until 10 counted || fail "100,000 connections: $(api "/v1/cgroups?match=$cgroup_prefix/**" | jq -c '.[] | [.path, .counters.connections]')"
  say "a tick over 100,000 connections, both ends: $(api /v1/status | jq .tick_seconds) s"
  ask 100
  expect_all_counted "100,000 connections"
  kill -TERM "${idles[@]}" "${servers[@]}"
  # Counted now; /v1/maps says how many there were at the last visit of all.
  few() { [ "$(api /v1/maps/slogate_sockets | jq '(.entries | length) + .left_out')" -lt 10000 ]; }
  wait_until 30 few || fail "closed connections are not forgotten"
  wait "${idles[@]}" "${servers[@]}" || fail "connections were closed"
  stop_agent
}

# As fast as they can be made; their memory is given back (tests/bench/maps.sh watches that).
cgroups_by_the_ten_thousand() {
  local before
  printf 'maps: { memory_ratio: 0.05, grace: 1s }\n' >"$work/slogate.yaml"
  begin --config "$work/slogate.yaml"
  ask 100
  before=$asked
  "$programs/slogate-load" churn --port "$port" --parent "$(make_cgroup churn)" --cgroups 10000 --rate 1000 \
    >"$work/churn"
  [ "$(tail -n 1 "$work/churn" | jq -c '[.cgroups, .answered]')" = "[10000,10000]" ] ||
    fail "the churn failed: $(tail -n 1 "$work/churn")"
  served() { [ "$(requests_of server request)" = $((before + 10000)) ]; }
  wait_until 5 served || fail "10,000 cgroups: $((before + 10000)) requests, the server has $(requests_of server request)"
  [ "$(api /v1/status | jq '.lost | add')" = 0 ] || fail "10,000 cgroups: lost $(api /v1/status | jq -c .lost)"
  gone() { [ "$(api "/v1/cgroups?match=$cgroup_prefix/churn/*" | jq length)" = 0 ]; }
  wait_until 30 gone || fail "cgroups that are gone keep their slots"
  stop_agent
}

faults=(pins_are_removed bpffs_goes pins_are_wrong names_die_with_the_agent cgroup2_goes node_is_hybrid sighups_storm disk_is_full
  memory_is_limited connections_by_the_hundred_thousand cgroups_by_the_ten_thousand)
(($# == 0)) || faults=("$@")
for fault in "${faults[@]}"; do
  : >"$work/agent.log"
  is_left_out=false
  "$fault"
  $is_left_out || passed "${fault//_/ }"
done
