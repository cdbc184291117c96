#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 300
# What everyday clients, proxies and checkers do to two servers that are the same vetoes neither, though
# one of them gets a tenth of the traffic:
#   pace      kept connections, an answer after 1 ms: the slower pace leaves ACKs to be delayed
#   checked   a connection for each request, HAProxy's TCP check, which gives the handshake up, and a
#             checker that connects and hangs up by a reset
#   deferred  the same, to a listener that waits for data
#   proxied   through HAProxy, which drops each connection once it has read the answer
# SLOGATE_WATCH: for how many seconds (default 60; each of these was vetoed within 30 once).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
for program in nginx haproxy curl; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done

watch=${SLOGATE_WATCH:-60}
kinds=(pace checked deferred proxied)
load=$(make_cgroup load)

# ask_paced NAME RATE: a server of that name that takes 1 ms, and four kept connections to it with so
# many requests a second each.
ask_paced() {
  local ready=$work/$1.ready generator=("$programs/slogate-load" --max-seconds 600)
  run_in_cgroup "$(make_cgroup "$1")" "${generator[@]}" serve --port 0 --service constant:1ms >"$ready" 2>&1 &
  track "$!"
  wait_until 10 grep -qs '^ready ' "$ready" || fail "$1 is not ready: $(cat "$ready")"
  run_in_cgroup "$load" "${generator[@]}" drive --host 127.0.0.1 --port "$(awk '/^ready/ { print $2 }' "$ready")" \
    --connections 4 --rate "$2" --duration 600s >/dev/null 2>&1 &
  track "$!"
}

# ask_short NAME PORT RATE: a connection for each request.
ask_short() {
  curl_at "$load" "$2" "$3" --header "Connection: close"
  track "$!"
}

# hang_up_on PORT: connects and ends the connection by a reset, twice a second.
hang_up_on() {
  # shellcheck disable=SC2016 # perl's own variables
  run_in_cgroup "$load" perl -MSocket -e '
    for (;;) {
      socket(S, PF_INET, SOCK_STREAM, 0) or die;
      setsockopt(S, SOL_SOCKET, SO_LINGER, pack("ii", 1, 0)) or die;
      connect(S, sockaddr_in($ARGV[0], INADDR_LOOPBACK)) or die;
      close S;
      select undef, undef, undef, .5;
    }' "$1" &
  track "$!"
}

# start_haproxy NAME CHECKED-PORT...: checks each of them twice a second, and passes requests on to
# $proxied_port, a connection for each; sets $port.
start_haproxy() {
  local checked=("${@:2}") server
  port=$(free_port $((30000 + RANDOM % 2000)))
  {
    say "defaults"
    say "  mode http" "
  timeout connect 5s" "
  timeout client 60s" "
  timeout server 5s"
    say "frontend in" "
  bind 127.0.0.1:$port" "
  default_backend out"
    say "backend out" "
  option http-server-close" "
  server out 127.0.0.1:$proxied_port"
    say "backend checked"
    for server in "${checked[@]}"; do say "  server s$server 127.0.0.1:$server check inter 500ms"; done
  } >"$work/$1.cfg"
  run_in_cgroup "$(make_cgroup "$1")" haproxy -db -f "$work/$1.cfg" >"$work/$1.log" 2>&1 &
  track "$!"
  wait_until 20 port_is_taken "$port" || fail "haproxy does not listen: $(cat "$work/$1.log")"
}

# start_arm_of_each ARM RATE
start_arm_of_each() {
  local checked=()
  ask_paced "pace-$1" "$(($2 * 5 / 4))"
  start_nginx "checked-$1"
  checked+=("$port")
  ask_short "checked-$1" "$port" "$2"
  hang_up_on "$port"
  start_nginx "deferred-$1" deferred
  checked+=("$port")
  ask_short "deferred-$1" "$port" "$2"
  start_nginx "proxied-$1"
  proxied_port=$port
  start_haproxy "haproxy-$1" "${checked[@]}"
  curl_at "$load" "$port" "$2"
  track "$!"
}

{
  say "slos:"
  for kind in "${kinds[@]}"; do
    say "  - name: $kind" "
    canary: { cgroup: \"$cgroup_prefix/$kind-canary/**\" }" "
    baseline: { cgroup: \"$cgroup_prefix/$kind-stable/**\" }" "
    objectives: [{ signal: request, quantile: 0.99, max_increase: 50ms }]" "
    warmup: 0s"
  done
} >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
start_arm_of_each stable 60
sleep 20
start_arm_of_each canary 6

no_veto_for "$watch"

# That it was these situations, and that nothing of them is an error.
errors() {
  api "/v1/cgroups?match=$cgroup_prefix/$1-*" | jq '[.[].counters | (.connection_errors.server | add), .harmful_resets.in] | add'
}
for kind in "${kinds[@]}"; do
  samples=$(api "/v1/verdicts/$kind" | jq .samples.canary)
  [ "$samples" -gt 0 ] || fail "$kind was never judged"
  [ "$(errors "$kind")" = 0 ] || fail "$kind: $(api "/v1/cgroups?match=$cgroup_prefix/$kind-*" | jq -c '.[] | {path, counters}')"
  passed "$kind: no veto in $watch s, $samples samples of the canary, no error: $(of "$kind" verdict), $(of "$kind" reason)"
done
resets=$(api "/v1/cgroups?match=$cgroup_prefix/checked-canary" | jq '.[0].counters.resets.in')
[ "$resets" -gt "$watch" ] || fail "the checker made $resets resets, so it was not what it is meant to be"
stop_agent
