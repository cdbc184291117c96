#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Canaries that are no worse, whatever their share of the traffic: nginx and redis, each with kept
# connections and with one for each request, a baseline of two servers, and four canaries that get 1, 5,
# 20 and 50 % of the baseline's load. All run at once. No signal may veto any of them.
# SLOGATE_SWEEP: how many seconds they are watched (default 300).
set -euo pipefail
# ctest: soak 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
for program in nginx redis-server redis-cli curl; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done

watch=${SLOGATE_SWEEP:-300}
baseline_rate=40 # requests a second, of two servers together
shares=(1 5 20 50)
kinds=(nginx-kept nginx-short redis-kept redis-short)

# serve KIND NAME: a server of its own in the cgroup KIND-NAME; sets $port.
serve() {
  local files=$work/$1-$2
  case $1 in
    nginx-*) start_nginx "$1-$2" ;;
    redis-*)
      port=$(free_port $((21000 + RANDOM % 8000)))
      mkdir -p "$files"
      run_in_cgroup "$(make_cgroup "$1-$2")" redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$files" \
        >"$files/log" 2>&1 &
      track "$!"
      wait_until 20 port_is_taken "$port" || fail "$1-$2 does not listen"
      ;;
  esac
}

# ask KIND PORT RATE: requests at that pace, from a cgroup that no SLO names, until the script ends.
ask() {
  local interval
  interval=$(awk -v rate="$3" 'BEGIN { print 1 / rate }')
  case $1 in
    nginx-kept) curl_at "$load" "$2" "$3" ;;
    nginx-short) curl_at "$load" "$2" "$3" --header "Connection: close" ;;
    redis-kept) run_in_cgroup "$load" redis-cli -p "$2" -r -1 -i "$interval" get key >/dev/null & ;;
    redis-short) redis_short "$2" "$interval" & ;;
  esac
  track "$!"
}
redis_short() {
  echo "$BASHPID" >"$load/cgroup.procs"
  local answer
  while exec 3<>"/dev/tcp/127.0.0.1/$1"; do
    printf 'GET key\r\n' >&3
    read -r answer <&3
    [[ $answer == '$-1'* ]] || return
    exec 3>&-
    sleep "$2"
  done
}

load=$(make_cgroup load)
{
  say "slos:"
  for kind in "${kinds[@]}"; do
    for share in "${shares[@]}"; do
      say "  - name: $kind-$share" \
        "
    canary: { cgroup: \"$cgroup_prefix/$kind-canary$share/**\" }" \
        "
    baseline: { cgroup: \"$cgroup_prefix/$kind-stable*/**\" }" \
        "
    objectives: [{ signal: request, quantile: 0.99, max_increase: 50ms }]" \
        "
    warmup: 0s"
    done
  done
} >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"

for kind in "${kinds[@]}"; do
  for half in 1 2; do
    serve "$kind" "stable$half"
    ask "$kind" "$port" $((baseline_rate / 2))
  done
done
sleep 65 # the baselines alone, until their A/A test is through
for kind in "${kinds[@]}"; do
  for share in "${shares[@]}"; do
    serve "$kind" "canary$share"
    ask "$kind" "$port" "$(awk -v share="$share" -v rate="$baseline_rate" 'BEGIN { print rate * share / 100 }')"
  done
done

no_veto_for "$watch"
# Each must have been judged, or nothing was shown.
api /v1/verdicts | jq -r '.[] | "\(.slo): \(.verdict), \(.reason), \(.samples.canary) and \(.samples.baseline) samples"'
idle=$(api /v1/verdicts | jq -r '.[] | select(.samples.canary < 1) | .slo')
[ -z "$idle" ] || fail "never judged: $idle"
stop_agent
passed "no veto of ${#kinds[@]} x ${#shares[@]} canaries in $watch s"
