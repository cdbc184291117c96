#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 900
# tests/e2e/failing.sh [--rounds N] [--all | CASE...]
#
# Canaries that fail fast are vetoed: nginx that answers 500, to everything, to 5 % and to 1 %; Redis that
# says -OOM and -ERR; PostgreSQL whose connections are all taken; and clients of a cache that misses. So are
# gRPC servers whose calls share one connection, where 5 % of them fail, or the slowest take twice as long. Arms
# that fail alike, or differ in nothing but how long their connections live, are not.
# Without arguments only a few of them, so that they are not in each other's way on two CPUs.
# N: how many canaries of each kind (default 1); from 20 on the medians are held to what docs/verdict.md
# promises, fewer to a limit that a busy machine keeps.
# SLOGATE_BASELINE: how many seconds the baselines are watched alone (default 65).
set -euo pipefail
# shellcheck source=servers.sh
. "$(dirname "$0")/servers.sh"
need_root
need_cgroup2
for program in nginx curl python3 openssl redis-server redis-cli; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done

rounds=1
[ "${1-}" != --rounds ] || { rounds=${2-} && shift 2; }
[[ $rounds =~ ^[1-9][0-9]*$ ]] || usage_error "$(help_text)"
baseline_seconds=${SLOGATE_BASELINE:-65}

# What fails, and within how many seconds it is to be vetoed: the median of 20 in quiet, and one anywhere.
declare -A promised=([all]=5 [five]=20 [one]=20 [oom]=20 [error]=20 [pool]=20 [misses]=20 [grpc]=20 [grpc-slow]=5)
declare -A limits=([all]=90 [five]=120 [one]=120 [oom]=90 [error]=90 [pool]=120 [misses]=120 [grpc]=120 [grpc-slow]=90)
declare -A what=(
  [all]="nginx, every answer 500, 150/s"
  [five]="nginx, 5 % of the answers 500, 300/s"
  [one]="nginx, 1 % of the answers 500, 1,000/s"
  [oom]="Redis, -OOM, 100/s"
  [error]="Redis, -ERR, 100/s"
  [pool]="PostgreSQL, every connection taken, 40/s"
  [misses]="Redis, a client that misses 80 % instead of 2 %, 200/s"
  [grpc]="grpc-go, 5 % of the calls INTERNAL, 300/s"
  [grpc-slow]="grpc-go, twice as slow at p99, 1,000/s"
)
# What the veto is for, if not for what fails.
declare -A reasons=([grpc-slow]='of request')
failing=(all five one oom error pool misses grpc grpc-slow)
calm=(same grpc-same lifetimes mysql-lifetimes tickets)
calm_names='same|grpc-same|lifetimes|mysql-lifetimes|tickets'
[ $# -ne 0 ] || set -- all error misses grpc same
[ "${1-}" = --all ] || {
  mapfile -t failing < <(printf '%s\n' "$@" | grep -vxE "$calm_names")
  mapfile -t calm < <(printf '%s\n' "$@" | grep -xE "$calm_names")
}
[ -n "$postgresql" ] || {
  left_out "${what[pool]}: PostgreSQL is not installed"
  mapfile -t failing < <(printf '%s\n' "${failing[@]}" | grep -vx pool)
  mapfile -t calm < <(printf '%s\n' "${calm[@]}" | grep -vx lifetimes)
}
command -v mariadbd >/dev/null || {
  left_out "MariaDB's connections of different lifetimes: it is not installed"
  mapfile -t calm < <(printf '%s\n' "${calm[@]}" | grep -vx mysql-lifetimes)
}

[[ " ${failing[*]} ${calm[*]} " != *" grpc"* ]] || make_grpc_go || {
  mapfile -t failing < <(printf '%s\n' "${failing[@]}" | grep -v '^grpc')
  mapfile -t calm < <(printf '%s\n' "${calm[@]}" | grep -v '^grpc')
}

# serve_failing CGROUP FAILING [LISTEN-OPTION...]: an nginx whose answers fail where 32 random hexadecimal
# digits match FAILING.
locations="location / { if (\$fails) { return 500; } return 200 'well\n'; }"
serve_failing() {
  serve_nginx "$1" "keepalive_requests 100000000; $(nginx_tls) map \$request_id \$fails { default 0; '~$2' 1; }" "${@:3}"
}
declare -A patterns=([all]='.' [five]='^0[0-9a-c]' [one]='^0([01].|2[0-8])' [two]='^0[0-4]' [none]='^$')

# ---- clients, from a cgroup of no arm ----

ask_oom() { begin load redis-cli -p "$port" -r 360000 -i 0.01 SET key value; }
# ask_grpc RATE [ARGUMENT...]: over one connection, on which calls do not wait for one another.
ask_grpc() { begin load "$work/grpc_go" ask -port "$port" -number 10000000 -rate "$@"; }
# The methods of which one in twenty fails.
grpc_failing=(/answer/13)
for ((i = 0; i < 19; i++)); do grpc_failing+=(/answer/0); done
ask_pgbench() {
  begin load "${postgresql_client[@]}" PGPORT="$port" pgbench -n -R 40 -T 3600 -f "$work/one.sql" "$@"
}

# ---- arms ----

# arm CASE canary|stable: servers and clients of it.
arm() {
  local kind rate
  case $1 in
    all | five | one)
      kind=$1 rate=1000
      [ "$2" = canary ] || kind=none
      [ "$1" != all ] || rate=150
      [ "$1" != five ] || rate=300
      serve_failing "$1-$2" "${patterns[$kind]}"
      keep_asking_http "$rate"
      ;;
    oom)
      if [ "$2" = canary ]; then serve_redis "$1-$2" --maxmemory 1; else serve_redis "$1-$2"; fi
      ask_oom
      ;;
    error)
      serve_redis "$1-$2"
      [ "$2" != canary ] || redis-cli -p "$port" SET bad 1 >/dev/null
      keep_asking load redis_script 100
      ;;
    pool)
      serve_postgresql "$1-$2" 10
      if [ "$2" = canary ]; then
        begin load /usr/bin/python3 "$clients/ask.py" postgresql_held "$port" 10
        wait_until 20 pool_is_full || fail "the pool is not full"
      fi
      keep_asking load postgresql_short 40
      ;;
    misses)
      port=$cache_port
      if [ "$2" = canary ]; then keep_asking "$1-$2" redis_gets 200 80; else keep_asking "$1-$2" redis_gets 200 2; fi
      ;;
    grpc | grpc-same)
      serve_grpc_go "$1-$2"
      rate=300
      [ "$1.$2" != grpc-same.canary ] || rate=100
      if [ "$1.$2" = grpc.stable ]; then ask_grpc $rate /answer/0; else ask_grpc $rate "${grpc_failing[@]}"; fi
      ;;
    grpc-slow)
      serve_grpc_go "$1-$2"
      if [ "$2" = canary ]; then ask_grpc 1000 -sleep 2ms:0.5:2; else ask_grpc 1000 -sleep 2ms:0.5:1; fi
      ;;
    same)
      serve_failing "$1-$2" "${patterns[two]}"
      rate=300
      [ "$2" != canary ] || rate=100
      keep_asking_http "$rate"
      ;;
    lifetimes)
      serve_postgresql "$1-$2" 20
      if [ "$2" = canary ]; then ask_pgbench -C; else ask_pgbench; fi
      ;;
    mysql-lifetimes)
      serve_mariadb "$1-$2"
      if [ "$2" = canary ]; then keep_asking load mysql_paced 40 short; else keep_asking load mysql_paced 40 kept; fi
      ;;
  esac
}
pool_is_full() { ! from_load psql -X -c "SELECT 1" >/dev/null 2>&1; }
from_load() { run_in_cgroup "$(make_cgroup load)" "${postgresql_client[@]}" PGPORT="$port" "$@"; }
# Two servers of TLS, of which one gets a tenth of the clients, whose tickets are from either.
start_tickets() {
  local canary
  serve_failing tickets-canary "${patterns[none]}" ssl
  canary=$port
  serve_failing tickets-stable "${patterns[none]}" ssl
  local stable=$port
  port=$canary
  keep_asking load tls_shared 200 "$stable"
}

slo() {
  say "  - name: $1" "
    canary: { cgroup: \"$cgroup_prefix/$1-canary/**\" }" "
    baseline: { cgroup: \"$cgroup_prefix/$1-stable/**\" }" "
    ${2:+objectives: [$2]}" "
    warmup: 0s"
}
objective="{ signal: request, quantile: 0.99, max_increase: 50ms }"
{
  # Beyond the budget one connection in two is not watched, which of a canary with one connection may be it.
  say "outcomes: all" "
cpu_ratio: 1" "
slos:"
  for case in "${failing[@]}" "${calm[@]}"; do
    case $case in
      misses) slo misses "{ signal: \"misses(client, redis)\", max_increase: 0.05 }" ;;
      # Nothing is stated: the first query of a session is slower than the next, as it fills the caches of
      # its backend, and that is no reason for a veto.
      lifetimes | mysql-lifetimes | tickets | grpc-slow) slo "$case" "" ;;
      *) slo "$case" "$objective" ;;
    esac
  done
} | sed '/^ *$/d' >"$work/slogate.yaml"

say "SELECT 1;" >"$work/one.sql"
start_agent --config "$work/slogate.yaml"
[[ " ${failing[*]} " != *" misses "* ]] || { serve_redis cache && cache_port=$port; }
for case in "${failing[@]}" "${calm[@]}"; do [ "$case" = tickets ] || arm "$case" stable; done
sleep "$baseline_seconds"

# ---- those that do not fail, watched all the while ----

for case in "${calm[@]}"; do
  case $case in
    tickets) start_tickets ;;
    *) arm "$case" canary ;;
  esac
done
calm_since=$SECONDS
calm_ones=$(IFS='|' && say "^(${calm[*]})\$")
vetoes() { api /v1/verdicts | jq -r '.[] | select(.verdict == "veto").slo'; }
none_is_vetoed() {
  local case
  case=$(grep -E "$calm_ones" <<<"$1" || true)
  [ -z "$case" ] || fail "$case: $(of "${case%%$'\n'*}" message)"
}

# ---- those that do ----

vetoed() {
  local all
  all=$(vetoes)
  none_is_vetoed "$all"
  [[ $'\n'$all$'\n' == *$'\n'"$1"$'\n'* ]]
}
for case in "${failing[@]}"; do
  for ((round = 0; round < rounds; round++)); do
    running=()
    slogate reset "$case" >/dev/null
    arm "$case" canary
    ms_until "${limits[$case]}" vetoed "$case" ||
      fail "${what[$case]}: no veto after ${limits[$case]} s, but $(of "$case" verdict), $(of "$case" reason): $(of "$case" message)"
    [[ $(of "$case" message) =~ ${reasons[$case]-errors|misses} ]] || fail "${what[$case]}: vetoed for something else: $(of "$case" message)"
    say "$case $took" >>"$work/times"
    stop_running
    remove_cgroup "$cgroup_dir/$case-canary"
  done
  message="$(of "$case" message), blocks of $(of "$case" block_seconds) s"
  took=$(awk -v name="$case" '$1 == name { print $2 }' "$work/times" | median)
  ((rounds < 20)) || ((${took%.*} <= promised[$case] * 1000)) || fail "${what[$case]}: the median is $took ms"
  passed "${what[$case]}: veto after $took ms, the median of $rounds: $message"
done

is_judged() {
  none_is_vetoed "$(vetoes)"
  [ "$(of "$1" samples.canary)" -gt 200 ]
}
# They are watched for a minute at least.
while [ ${#calm[@]} -gt 0 ] && ((SECONDS < calm_since + 60)); do
  sleep 1
  none_is_vetoed "$(vetoes)"
done
for case in "${calm[@]}"; do
  # On a busy machine clients take longer to ask as often.
  wait_until 120 is_judged "$case" || fail "$case was hardly judged: $(of "$case" message)"
  none_is_vetoed "$(vetoes)"
  passed "$case: no veto, $(of "$case" samples.canary) samples of the canary: $(of "$case" verdict), $(of "$case" reason)"
done
stop_agent
