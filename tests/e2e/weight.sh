#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The weight drives a real load balancer, as a controller's setWeight would: every quarter of a second
# haproxy is told what the agent says. Two rollouts at once, of nginx: a good one goes from 5 to 100 in
# the stated steps; one that fails above half of the load is stopped on the way. Without traffic
# nothing rises, whatever was shown before.
set -euo pipefail
# shellcheck source=servers.sh
. "$(dirname "$0")/servers.sh"
need_root
need_cgroup2
need_bpffs
for program in nginx haproxy curl; do
  command -v $program >/dev/null || skip "no $program here"
done

readonly rate=400 step=24 every=3
limit=$((rate / 2)) # what the failing canary can do in a second

# stated_for SLO
stated_for() {
  cat <<END
  - name: $1
    canary: { cgroup: "$cgroup_prefix/$1-canary/**" }
    baseline: { cgroup: "$cgroup_prefix/$1-stable/**" }
    objectives:
      - { signal: request, quantile: 0.9, max_increase: 50ms }
      - { signal: errors, max_increase: 5% }
      # A busy machine wakes the canary's one process later, which is asked now and then.
      - { signal: answer, quantile: 0.9, max_increase: 50ms }
      - { signal: queue, quantile: 0.9, max_increase: 50ms }
    warmup: 0s
    weight: { from: 5, step: $step, every: ${every}s, most: 100 }
END
}
{
  say "slos:"
  stated_for good
  stated_for failing
} >"$work/slogate.yaml"

# balance SLO CANARY-PORT STABLE-PORT: sets $port, and admin[SLO].
declare -A admin front ports
balance() {
  new_port
  admin[$1]=$port
  new_port
  front[$1]=$port
  cat >"$work/$1.cfg" <<END
global
  stats socket ipv4@127.0.0.1:${admin[$1]} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen all
  bind 127.0.0.1:$port
  balance roundrobin
  server canary 127.0.0.1:$2 weight 0
  server stable 127.0.0.1:$3 weight 100
END
  serve "haproxy-$1" haproxy -db -f "$work/$1.cfg"
}
# haproxy_says SLO COMMAND
haproxy_says() {
  exec 3<>"/dev/tcp/127.0.0.1/${admin[$1]}"
  say "$2" >&3
  cat <&3
  exec 3>&-
}
# answered SLO SERVER: how many requests it had.
answered() { haproxy_says "$1" "show stat" | awk -F, -v server="$2" '$1 == "all" && $2 == server { print $8 }'; }

# set_weight SLO PERCENT: haproxy takes whole numbers up to 256.
set_weight() {
  local canary
  canary=$(awk -v weight="$2" 'BEGIN { printf "%d", 2 * weight }')
  haproxy_says "$1" "set server all/canary weight $canary; set server all/stable weight $((200 - canary))" >/dev/null
}
# follow SLO: what a controller does. Leaves a line of milliseconds and weight for each change.
follow() {
  local before='' now
  while sleep 0.25; do
    now=$(of "$1" weight || true) # nothing while the agent begins anew
    if [ -z "$now" ] || [ "$now" = "$before" ]; then continue; fi
    set_weight "$1" "$now"
    say "$(now_ms) $now" >>"$work/$1.weights"
    before=$now
  done
}
weight_is() { [ "$(of "$1" weight)" = "$2" ]; }
weight_above() { awk -v now="$(of "$1" weight)" -v than="$2" 'BEGIN { exit !(now > than) }'; }
# stays SLO SECONDS WHAT: its weight.
stays() {
  local begin=$SECONDS at
  at=$(of "$1" weight)
  while ((SECONDS - begin < $2)); do
    sleep 0.5
    weight_is "$1" "$at" || fail "$1 moved from $at to $(of "$1" weight) $3: $(of "$1" message)"
  done
}

is_alone() { is good pass && [[ $(of good message) == *"baseline has had no traffic"* ]]; }
follows_to_none() { [[ $(haproxy_says failing "get weight all/canary") == "0 "* ]]; }

for slo in good failing; do
  # `return` would answer before the limit is looked at.
  locations='location / { limit_req zone=all burst=5 nodelay; limit_req_status 500; try_files /ok =404; }'
  for arm in stable canary; do
    able=100000
    if [ "$slo-$arm" = failing-canary ]; then able=$limit; fi
    serve_nginx "$slo-$arm" "limit_req_zone \$server_port zone=all:1m rate=${able}r/s;"
    ports[$arm]=$port
  done
  balance "$slo" "${ports[canary]}" "${ports[stable]}"
done
start_agent --config "$work/slogate.yaml"

stays good 4 "before anybody asked"
clients=$(make_cgroup load)
declare -A asking
for slo in good failing; do
  for _ in 1 2 3 4; do
    curl_at "$clients" "${front[$slo]}" $((rate / 4))
    track "$!"
    asking[$slo]+=" $!"
  done
done
stays good 6 "while the baseline alone was asked"
passed "nothing rises without traffic on the canary"

followers=()
for slo in good failing; do
  follow "$slo" &
  followers+=("$!")
  track "$!"
done
wait_until 60 weight_above good 30 || fail "good is at $(of good weight): $(of good message)"
# shellcheck disable=SC2086 # several
kill -STOP ${asking[good]}
sleep 0.5 # for what is under way
stays good $((3 * every)) "without traffic"
# shellcheck disable=SC2086
kill -CONT ${asking[good]}
passed "at $(of good weight) it stays for as long as there is no traffic"

before=$(of good weight)
stop_agent
start_agent --config "$work/slogate.yaml"
awk -v now="$(of good weight)" -v before="$before" 'BEGIN { exit !(now >= before) }' ||
  fail "good was at $before, and is at $(of good weight) after a restart: $(of good message)"
passed "after a restart of the agent it goes on at $(of good weight): $(of good message)"

wait_until 60 weight_is good 100 || fail "good is at $(of good weight): $(of good message)"
# Every rise is one step, and not sooner than stated: the loop looks four times a second.
awk -v step=$step -v every=$every '
  NR == 1 && $2 != 5 { print "begins at " $2; exit 1 }
  NR > 1 && $2 > weight + step + 0.01 { print "from " weight " to " $2; exit 1 }
  NR > 1 && $2 > weight && $1 - at < (every - 1) * 1000 { print "a step after " $1 - at " ms"; exit 1 }
  { at = $1; weight = $2 }' "$work/good.weights" >"$work/why" || fail "good $(cat "$work/why")"
wait_until 30 is_alone || fail "at 100: $(of good verdict): $(of good message)"
before=$(answered good stable) canary_before=$(answered good canary)
sleep 2
[ "$(answered good stable)" = "$before" ] || fail "the baseline is still asked at 100"
[ "$(answered good canary)" -gt "$canary_before" ] || fail "nobody is asked at 100"
passed "a good canary got $(awk '{ printf "%s%s", NR == 1 ? "" : ", ", $2 }' "$work/good.weights") %: $(of good message)"

wait_until 60 is failing veto || fail "failing is at $(of failing weight): $(of failing message)"
wait_until 5 follows_to_none || fail "haproxy still sends to a vetoed canary"
highest=$(sort -k 2 -n "$work/failing.weights" | awk 'END { print $2 }')
awk -v highest="$highest" 'BEGIN { exit !(highest > 50 && highest < 100) }' ||
  fail "failing got $highest %, and can do 50: $(of failing message)"
passed "one that fails above 50 % got $highest % at most: $(of failing message)"
stop_process "${followers[@]}"
stop_agent
