# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For scripts that have tools/lib.sh, an agent, $programs, `api` and `fail`: traffic of every kind, between two
# network namespaces of its own, and what the agent makes of it.

# traffic CGROUP_DIRECTORY FILE: adds to the JSON in FILE what the agent counted there, its probes, and
# how many of their runs the kernel left out.
traffic() {
  local directory=$1 file=$2 near=slogate-near-$$ far=slogate-far-$$ server delay try
  # shellcheck disable=SC2154 # of whoever sources this
  local load=("$programs/slogate-load" --max-seconds 60)
  ip netns add $near
  ip netns add $far
  ip -n $near link add near type veth peer name far netns $far
  ip -n $near addr add 10.77.0.1/24 dev near
  ip -n $far addr add 10.77.0.2/24 dev far
  ip -n $near link set near up
  ip -n $far link set far up
  # Slow, and loses packets; without netem only the latter.
  delay=0.005
  tc -n $near qdisc add dev near root netem delay 5ms loss 5% 2>/dev/null ||
    { delay=0 && tc -n $near qdisc add dev near root tbf rate 20mbit burst 5kb limit 10kb; }

  run_in_cgroup "$directory" ip netns exec $far "${load[@]}" serve --host 10.77.0.2 --port 8000 \
    --error-share 0.1 &
  server=$!
  run_in_cgroup "$directory" ip netns exec $near bash -c ': </dev/tcp/10.77.0.2/1' 2>/dev/null &&
    fail "nobody listens there"
  run_in_cgroup "$directory" ip netns exec $near "${load[@]}" drive --host 10.77.0.2 --port 8000 \
    --connections 4 --connect-per-request --requests 60 --request-size 50000 ||
    say "some requests were reset"
  sleep 6 # some ticks, and what the kernel left out is asked for every five seconds
  for ((try = 0; try < 20; try++)); do
    api "/v1/cgroups?match=${directory#"$(cgroup2_root)"}" | jq '.[0]' >"$file.counted"
    ! is_complete || break
    sleep 0.5
  done
  stop_process "$server"
  is_complete || fail "TCP knows of $(retransmits) retransmits, and there was none of" \
    "\"$(missing)\" in $(cat "$file.counted")"
  ip netns del $near
  ip netns del $far
  jq -e ".signals.connect.p50 >= $delay and .signals.rtt.p50 >= $delay" "$file.counted" >/dev/null ||
    fail "the delay is not seen: $(cat "$file.counted")"
  jq --argjson probes "$(api /v1/probes)" --slurpfile counted "$file.counted" \
    '. + {$probes, counted: $counted[0], missed: [$probes[].missed] | add}' "$file" >"$file.new"
  mv "$file.new" "$file"
  rm "$file.counted"
  # That one reads packets, which kernels before 6.12 let no program do.
  jq -e '[.probes[] | select(.degraded and .program != "answer_arrived")] == []' "$file" >/dev/null ||
    fail "a probe is degraded"
}

is_complete() { [ -z "$(missing)" ] && same_retransmits; }

# Which signals and counters are still 0, but for what takes something rare.
missing() {
  jq -r '(. // {signals: {}, counters: {}}) | [
    (.signals | {request, queue, client_request, connect, rtt} | map_values(.count)),
    (.counters | {connections: (.connections // {} | add), segments: .segments.in, retransmits,
      resets_in: .resets.in, resets_out: .resets.out,
      unanswered_requests: (.unanswered_requests // {} | add),
      refused: .connection_errors.client.refused, reset: .connection_errors.client.reset,
      drops: ([.drops[]?] | add)})
  ] | add | to_entries | map(select((.value // 0) == 0) | .key) | join(" ")' "$file.counted"
}

# Whether as many were counted as the network namespaces know of.
same_retransmits() { [ "$(jq .counters.retransmits "$file.counted")" -eq "$(retransmits)" ]; }
# Both ends', since acknowledgements are lost, too.
retransmits() {
  local end
  for end in "$near" "$far"; do ip netns exec "$end" cat /proc/net/snmp; done |
    awk '/^Tcp: [0-9]/ { sum += $13 } END { print sum }'
}
