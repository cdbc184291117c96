#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The breaker, by what the users of a canary see through nginx and haproxy: canary, baseline and proxies in
# network namespaces of their own, an agent with CAP_BPF and CAP_PERFMON on the node's.
# ctest: e2e 600
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
for program in nginx haproxy ip curl jq; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done
openings=${SLOGATE_OPENINGS:-50}
drills=${SLOGATE_DRILLS:-3}
watched=${SLOGATE_WATCHED:-20} # seconds that a baseline is alone before the first canary
warmed=${SLOGATE_WARMED:-10}   # seconds of each canary before it does

names=()
leave() {
  cleanup
  local name
  for name in "${names[@]}"; do ip netns delete "$name" || true; done
}
on_exit leave
# add_netns NAME NUMBER: joined with `front` by 10.78.NUMBER.1 there and .2 in itself.
add_netns() {
  local name=slogate-e2e-$$-$1
  ip netns add "$name"
  names+=("$name")
  ip -n "$name" link set lo up
  [ "$2" -ne 0 ] || return 0
}
join_front() {
  local front=slogate-e2e-$$-front name=slogate-e2e-$$-$1
  ip -n "$front" link add "to-$1" type veth peer name eth0 netns "$name"
  ip -n "$front" addr add "10.78.$2.1/24" dev "to-$1"
  ip -n "$name" addr add "10.78.$2.2/24" dev eth0
  ip -n "$front" link set "to-$1" up
  ip -n "$name" link set eth0 up
}
add_netns front 0
number=1
for arm in canary stable other; do
  add_netns "$arm" "$number"
  join_front "$arm" "$number"
  ((number += 1))
done
# within NETNS CGROUP COMMAND...
within() { run_in_cgroup "$(make_cgroup "$2")" ip netns exec "slogate-e2e-$$-$1" "${@:3}"; }
answers() { ip netns exec "slogate-e2e-$$-front" curl --silent --fail --output /dev/null --max-time 5 "$1"; }

# start_server NAME NUMBER CGROUP: answers 200, or 500 while its file `bad` is there, and writes of each request
# when it was, on which connection, the how many of it, and the status.
start_server() {
  local command
  mapfile -t command < <(nginx_in "$work/$1" "
    log_format plain '\$msec \$connection \$connection_requests \$status';
    access_log $work/$1.access plain; keepalive_requests 100000000;
    server { listen 10.78.$2.2:8080; location / {
      if (-f $work/$1/bad) { return 500 \"bad\n\"; } return 200 \"well\n\"; } }")
  # nginx_in turns the log off for all.
  sed -i '/access_log off;/d' "$work/$1/nginx.conf"
  within "$1" "$3" "${command[@]}" &
  track "$!"
  wait_until 20 answers "http://10.78.$2.2:8080/" || fail "nginx of $1 does not answer"
}
# Two pods of the baseline, as most Deployments have more than one.
start_server canary 1 canary
start_server stable 2 stable/one
start_server other 3 stable/other

# proxy NAME PORT COMMAND...
proxy() {
  within front "$1" "${@:3}" &
  track "$!"
  wait_until 20 answers "http://127.0.0.1:$2/" || fail "$1 does not answer"
}
# nginx_proxy NAME PORT DIRECTIVES [UPSTREAM-DIRECTIVES [CANARY]]: to the canary and as much to its baseline. It goes on
# asking who has failed.
stables="server 10.78.2.2:8080 max_fails=0; server 10.78.3.2:8080 max_fails=0;"
nginx_proxy() {
  local command
  mapfile -t command < <(nginx_in "$work/$1" "
    upstream arms { ${5-server 10.78.1.2:8080 weight=2 max_fails=0;} $stables ${4-} }
    server { listen 127.0.0.1:$2; location / { proxy_pass http://arms; $3 } }")
  proxy "$1" "$2" "${command[@]}"
}
nginx_proxy nginx-retry 8001 ""
nginx_proxy nginx-once 8002 "proxy_next_upstream off;"
nginx_proxy nginx-pool 8003 "proxy_http_version 1.1; proxy_set_header Connection '';" "keepalive 8;"
nginx_proxy nginx-stable 8006 "" "" ""
# haproxy_proxy NAME PORT OPTIONS SERVER-OPTIONS
haproxy_proxy() {
  cat >"$work/$1.cfg" <<END
global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  option http-server-close
  $3
frontend all
  bind 127.0.0.1:$2
  default_backend arms
backend arms
  balance roundrobin
  server canary 10.78.1.2:8080 $4
  server stable 10.78.2.2:8080 $4
END
  proxy "$1" "$2" haproxy -f "$work/$1.cfg" -q
}
haproxy_proxy haproxy-retry 8004 "retries 3
  option redispatch 1" ""
haproxy_proxy haproxy-once 8005 "retries 0" ""

# Whoever waits for users to fail would wait for long: opened by hand, the same as by a veto.
cat >"$work/slogate.yaml" <<END
cpu_ratio: 1
outcomes: all
enforce: { mode: refuse, max: 10m }
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary" }
    baseline: { cgroup: "$cgroup_prefix/stable/**" }
    warmup: 0s
    enforce: { mode: refuse, ports: [8080] }
END
agent_prefix="setpriv --bounding-set=-all,+bpf,+perfmon --inh-caps=-all --no-new-privs" \
  start_agent --config "$work/slogate.yaml" --pin-dir none
for status in "/proc/$agent_pid/task"/*/status; do
  [ "$(awk '/^(CapEff|CapPrm|Seccomp):/ { print $2 }' "$status" | xargs)" = "0000008000000000 0000008000000000 2" ] ||
    fail "more is left than CAP_BPF: $(grep -E '^(Cap|Seccomp)' "$status")"
done
state() { of demo breaker.state; }
counted() { of demo breaker.refused; }
has_counted() { [ "$(counted)" -ge 1 ]; }
both_seen() {
  answers http://127.0.0.1:8001/
  [ "$(api /v1/slos | jq '[.[0].cgroups[] | length] | add')" = 3 ]
}
wait_until 30 both_seen || fail "the arms are not seen: $(api /v1/slos)"
opens() { answers http://10.78.1.2:8080/ && answers http://10.78.2.2:8080/ && slogate breaker open demo >"$work/opened" 2>&1; }
wait_until 30 opens || fail "it does not open: $(cat "$work/opened") $(slogate verdict demo)"
! answers http://10.78.1.2:8080/ || fail "a connection was accepted"
answers http://10.78.2.2:8080/ || fail "a connection to the baseline was refused"
wait_until 5 has_counted || fail "nothing was counted: $(slogate verdict demo)"
[[ $(slogate verdict demo) == *"breaker: open until"* ]] || fail "$(slogate verdict demo)"
[[ $(slogate events) == *breaker* ]] || fail "no event: $(slogate events)"
[[ $(curl --silent "http://$metrics/metrics") == *'slogate_breaker_open{slo="demo"} 1'* ]] || fail "no metric"
grep -q '^{"breaker":{"slo":"demo".*"state":"open"' "$work/state/audit.jsonl" || fail "no line in the audit log"
slogate breaker close demo
answers http://10.78.1.2:8080/ || fail "closed, it refuses"
chmod 711 "$work"
as_member=(setpriv --reuid=65534 "--regid=$(stat -c %g "$socket")" --clear-groups)
expect_exit 1 "${as_member[@]}" "$programs/slogate" --socket "$socket" breaker open demo
[[ $output == *"only root"* ]] || fail "a member of the group is told: $output"
passed "with CAP_BPF and CAP_PERFMON it opens and closes by hand, for root alone, and says so"

# ---- what users see ----

# through PORT: requests of a user over a connection that stays, while the breaker opens and closes.
through() {
  local i
  ip netns exec "slogate-e2e-$$-front" curl --silent --output /dev/null --write-out '%{http_code}\n' \
    --max-time 600 "http://127.0.0.1:$1/[1-1000000]" >"$work/users.$1" &
  local users=$!
  track "$users"
  sleep 0.5
  for ((i = 0; i < openings; i++)); do
    slogate breaker open demo >/dev/null
    sleep 0.1
    slogate breaker close demo >/dev/null
    sleep 0.1
  done
  stop_process "$users"
  sleep 1.5 # what was counted last is read with the next tick
  all=$(wc -l <"$work/users.$1")
  failed=$(grep -vc '^200$' "$work/users.$1" || true)
  [ "$all" -ge $((openings * 10)) ] || fail "through $1 only $all requests were sent"
}
for row in nginx-retry:8001 haproxy-retry:8004; do
  before=$(counted)
  through "${row#*:}"
  [ "$failed" -eq 0 ] || fail "${row%:*}: $failed of $all requests failed: $(sort "$work/users.${row#*:}" | uniq -c | xargs)"
  say "${row%:*}: $openings openings, $all requests, $(($(counted) - before)) connections refused, 0 failed"
  [ "$(counted)" -gt "$before" ] || fail "${row%:*}: nothing was refused"
done
passed "behind nginx and haproxy that try elsewhere no user's request fails"
for row in nginx-once:8002 haproxy-once:8005; do
  before=$(counted)
  through "${row#*:}"
  say "${row%:*}: $openings openings, $all requests, $(($(counted) - before)) connections refused, $failed failed: $(sort "$work/users.${row#*:}" | uniq -c | xargs)"
  [ "$failed" -gt 0 ] || fail "${row%:*}: docs/enforcement.md says that requests fail without a second try"
done
passed "without a second try they fail, as documented"

# A pool has its connections already.
users() { for ((i = 0; i < 100; i++)); do answers http://127.0.0.1:8003/ || return 1; done; }
users || fail "through the pool a request failed"
slogate breaker open demo >/dev/null
: >"$work/canary.access"
users || fail "through the pool a request failed"
pooled=$(wc -l <"$work/canary.access")
say "nginx-pool: of 100 requests $pooled went to the canary whose breaker was open"
[ "$pooled" -ge 40 ] || fail "docs/enforcement.md says that a pool goes on"
slogate breaker close demo >/dev/null
passed "connections that are open go on"

# ---- an agent that ends ----

slogate breaker open demo >/dev/null
! answers http://10.78.1.2:8080/ || fail "a connection was accepted"
kill -KILL "$agent_pid"
ms_until 1 answers http://10.78.1.2:8080/ || fail "a second after kill -9 connections are refused"
say "after kill -9 connections were accepted again within $took ms"
wait "$agent_pid" || true
agent_pid=
passed "it falls open when the agent is killed"

# ---- from the first bad answer to the last new connection ----

# send RATE ADDRESS:PORT: so many requests a second, each over a new connection, from now on.
send() {
  [ -z "${users-}" ] || stop_process "$users"
  ip netns exec "slogate-e2e-$$-front" curl --silent --output /dev/null --rate "$(($1 * 3600))/h" \
    "http://$2/[1-10000000]" &
  users=$!
  track "$users"
}
# start_baseline CONFIGURATION: an agent that has seen the baseline alone for $watched seconds, at 300 requests a second.
start_baseline() {
  rm -rf "$work/state" "$work/canary/bad"
  start_agent --config "$1" --pin-dir none
  send 300 127.0.0.1:8006
  sleep "$watched"
}
# drill: a canary comes, is well for $warmed seconds at 300 requests a second beside as many of the baseline, and
# fails in all its answers from then on. Sets $span, in ms from its first bad answer to its last new connection,
# $late, in ms from the veto to that, and $reached, how many requests failed there until 3 s after the veto.
drill() {
  local first last veto
  slogate reset demo >/dev/null
  : >"$work/canary.access"
  send 600 127.0.0.1:8001
  sleep "$warmed"
  : >"$work/canary/bad"
  wait_until 90 is demo veto || fail "90 s of failures bring no veto: $(slogate verdict demo)"
  sleep 3
  send 300 127.0.0.1:8006
  rm "$work/canary/bad"
  first=$(awk '$4 == 500 { print $1; exit }' "$work/canary.access")
  last=$(awk '$3 == 1 { last = $1 } END { print last }' "$work/canary.access")
  span=$(awk -v a="$first" -v b="$last" 'BEGIN { printf "%d", (b - a) * 1000 }')
  veto=$(jq -r 'select(.verdict.verdict == "veto").verdict.since' "$work/state/audit.jsonl" | tail -n 1)
  late=$(awk -v a="$(date -d "$veto" +%s.%3N)" -v b="$last" 'BEGIN { printf "%d", (b - a) * 1000 }')
  reached=$(awk '$4 == 500' "$work/canary.access" | wc -l)
}
sed 's/mode: refuse/mode: off/' "$work/slogate.yaml" >"$work/off.yaml"
spans=
start_baseline "$work/slogate.yaml"
for ((i = 0; i < drills; i++)); do
  drill
  say "with the breaker: $span ms from the first bad answer to the last new connection, $late ms from the veto; $reached failed at the canary"
  # The reading that decides is judged before anything is done, on a machine that does all of this.
  ((late <= 500)) || fail "new connections were accepted for $late ms after the veto"
  spans+="$span"$'\n'
done
# What a person has closed stays so, whoever starts anew meanwhile.
[ "$(of demo breaker.state)" = open ] || fail "it is not open after a veto: $(slogate verdict demo)"
slogate breaker close demo >/dev/null
stop_agent
start_agent --config "$work/slogate.yaml" --pin-dir none
is_closed_by_hand() { [[ $(slogate verdict demo) == *"it was closed by hand"* ]]; }
wait_until 10 is_closed_by_hand || fail "after a restart: $(slogate verdict demo)"
is demo veto || fail "the veto is gone: $(slogate verdict demo)"
answers http://10.78.1.2:8080/ || fail "closed by hand it refuses"
stop_agent
with=$(printf '%s' "$spans" | median)
start_baseline "$work/off.yaml"
drill
say "median of $drills with the breaker: $with ms; without it connections went on, $late ms after the veto, and $reached failed at the canary"
((late > 2000)) || fail "without the breaker connections ended by themselves"
passed "a canary that is vetoed gets no new connection"
