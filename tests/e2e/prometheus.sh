#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real Prometheus servers scrape a real agent under load, with native histograms Debian's and the newest one
# there is, and one without: all are content, and their quantiles are those of the API.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"
need_root
need_cgroup2
command -v prometheus >/dev/null || skip "prometheus is not installed"

load=$programs/slogate-load
path=$cgroup_prefix/server
request=slogate_request_duration_seconds
labels="cgroup=\"$path\",role=\"server\""

# start_prometheus NAME PROGRAM [ARGUMENT...]: sets $url.
start_prometheus() {
  local name=$1 port
  port=$(free_port $((20000 + RANDOM % 10000)))
  url=http://127.0.0.1:$port
  cat >"$work/$name.yml" <<CONFIG
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - { job_name: slogate, static_configs: [{ targets: ["$metrics"] }] }
CONFIG
  "$2" --config.file="$work/$name.yml" --storage.tsdb.path="$work/$name" \
    --web.listen-address="127.0.0.1:$port" "${@:3}" >"$work/$name.log" 2>&1 &
  track $!
}

# query URL EXPRESSION: the value of its one series; fails when there is none.
query() {
  curl --silent --fail --max-time 5 --get "$1/api/v1/query" --data-urlencode "query=$2" |
    jq -er '.data.result | select(length == 1) | .[0].value[1]'
}
is_up() { [ "$(query "$1" 'up{job="slogate"}')" = 1 ]; }
type_at() { curl --silent --fail "$1/api/v1/metadata?metric=$2" | jq -r ".data.$2[].type"; }
# within FACTOR A B: whether neither is more than so many times the other.
within() {
  jq -en "($2 | tonumber) as \$a | ($3 | tonumber) as \$b | \$a > 0 and \$b > 0
    and \$a <= \$b * $1 and \$b <= \$a * $1" >/dev/null
}
of_server() { api "/v1/cgroups?match=$path" | jq ".[0].signals.request.$1 // 0"; }

start_agent "$@"
: >"$work/server"
run_in_cgroup "$(make_cgroup server)" "$load" --max-seconds 120 serve --port 0 \
  --service lognormal:4:0.6 >"$work/server" 2>&1 &
server=$!
track "$server"
wait_until 10 grep -q '^ready ' "$work/server" || fail "the server is not ready"
start_prometheus native prometheus --enable-feature=native-histograms
natives=("$url")
if prometheus_3; then
  start_prometheus newest "$prometheus_3" --enable-feature=native-histograms
  natives+=("$url")
else
  left_out "native histograms of Prometheus 3: it cannot be downloaded, or does not run here"
fi
start_prometheus classic prometheus
classic=$url
servers=("${natives[@]}" "$classic")
for server_url in "${servers[@]}"; do
  wait_until 20 is_up "$server_url" || fail "no scrape: $(tail -n 3 "$work"/{native,newest,classic}.log 2>&1)"
done

run_in_cgroup "$(make_cgroup client)" "$load" --max-seconds 60 drive --host 127.0.0.1 \
  --port "$(awk '/^ready/ { print $2 }' "$work/server")" --connections 10 --rate 60 --duration 6s \
  >"$work/client" 2>&1 || fail "the load ended early: $(tail -n 3 "$work/client")"

# Until all have seen the last request, the agent first: it reads once a second.
sleep 2
saw_all() {
  counted=$(of_server count)
  local native
  for native in "${natives[@]}"; do
    [ "$(query "$native" "histogram_count($request{$labels})")" = "$counted" ] || return 1
  done
  [ "$(query "$classic" "${request}_count{$labels}")" = "$counted" ]
}
wait_until 15 saw_all || fail "Prometheus does not come to $counted requests"
[ "$counted" -ge 1000 ] || fail "only $counted requests were counted"

# A native bucket is 2^(1/8) wide, a classic one 2.
for pair in p50:0.5 p90:0.9 p99:0.99; do
  name=${pair%:*} q=${pair#*:}
  ours=$(of_server "$name")
  for native in "${natives[@]}"; do
    theirs=$(query "$native" "histogram_quantile($q, $request{$labels})")
    within 1.0905 "$ours" "$theirs" || fail "$name is $ours s, by native buckets $theirs s"
  done
  theirs=$(query "$classic" "histogram_quantile($q, ${request}_bucket{$labels})")
  within 2 "$ours" "$theirs" || fail "$name is $ours s, by classic buckets $theirs s"
done

# At an edge of both the counts are the same.
edge=0.00390625 # 2^-8 s
below=$(query "$classic" "${request}_bucket{$labels,le=\"$edge\"}")
for native in "${natives[@]}"; do
  theirs=$(query "$native" "round($counted * histogram_fraction(0, $edge, $request{$labels}))")
  [ "$theirs" = "$below" ] || fail "$below requests within $edge s, by native buckets $theirs"
done
passed "$counted requests: the quantiles of Prometheus, native and classic, are those of the API"

for server_url in "${servers[@]}"; do
  [ "$(type_at "$server_url" slogate_ticks_total)" = counter ] || fail "a counter is none"
  [ "$(type_at "$server_url" slogate_build_info)" = gauge ] || fail "a gauge is none"
done
curl --silent --fail --compressed "http://$metrics/metrics" >"$work/metrics"
promtool check metrics <"$work/metrics" || fail "promtool does not like the metrics"
grep -q '^slogate_scrapes_total{format="native"} [1-9]' "$work/metrics" ||
  fail "no native scrape was counted"
passed "the servers know the types, promtool likes the metrics"

# What is gone leaves after one more scrape, and the targets stay up.
stop_process "$server"
remove_cgroup "$cgroup_dir/server"
is_stale() { ! query "$1" "slogate_retransmits_total{cgroup=\"$path\"}" >/dev/null; }
for server_url in "${servers[@]}"; do
  wait_until 20 is_stale "$server_url" || fail "the series of a cgroup that is gone stay"
  is_up "$server_url" || fail "a target is down"
done
passed "the series of a cgroup that is gone leave, and the targets stay up"
