#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real Prometheus servers scrape a real agent under load, one with native histograms and one without:
# both are content, and their quantiles are those of the API.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
command -v prometheus >/dev/null || skip "prometheus is not installed"

load=$programs/slogate-load
server_path=$cgroup_prefix/server

# start_prometheus NAME [ARGUMENT...]: sets $url.
start_prometheus() {
  local name=$1 port
  port=$(free_port $((20000 + RANDOM % 10000)))
  url=http://127.0.0.1:$port
  cat >"$work/$name.yml" <<CONFIG
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - { job_name: slogate, static_configs: [{ targets: ["$metrics"] }] }
CONFIG
  prometheus --config.file="$work/$name.yml" --storage.tsdb.path="$work/$name" \
    --web.listen-address="127.0.0.1:$port" "${@:2}" >"$work/$name.log" 2>&1 &
  track $!
}

# query URL EXPRESSION: the value of its one series; fails when there is none.
query() {
  curl --silent --fail --max-time 5 --get "$1/api/v1/query" --data-urlencode "query=$2" |
    jq -er '.data.result | if length == 1 then .[0].value[1] else halt_error end' 2>/dev/null
}
is_up() { [ "$(query "$1" 'up{job="slogate"}')" = 1 ]; }
# within FACTOR A B: whether neither is more than so many times the other.
within() { awk -v f="$1" -v a="$2" -v b="$3" 'BEGIN { exit !(a > 0 && b > 0 && a <= b * f && b <= a * f) }'; }
requests() { api "/v1/cgroups?match=$server_path" | jq '.[0].signals.request.count // 0'; }
api_quantile() { api "/v1/cgroups?match=$server_path" | jq ".[0].signals.request.$1"; }
selector="{cgroup=\"$server_path\",role=\"server\"}"

start_agent
run_in_cgroup "$(make_cgroup server)" "$load" --max-seconds 120 serve --port 0 --service lognormal:4:0.6 \
  >"$work/server" 2>&1 &
track $!
wait_until 10 grep -qs '^ready ' "$work/server" || fail "the server is not ready: $(<"$work/server")"
start_prometheus native --enable-feature=native-histograms
native=$url
start_prometheus classic
classic=$url
wait_until 20 is_up "$native" || fail "no scrape of native histograms: $(tail -n 3 "$work/native.log")"
wait_until 20 is_up "$classic" || fail "no scrape of text: $(tail -n 3 "$work/classic.log")"

run_in_cgroup "$(make_cgroup client)" "$load" --max-seconds 60 drive --host 127.0.0.1 \
  --port "$(awk '/^ready/ { print $2 }' "$work/server")" --connections 10 --rate 60 --duration 6s \
  >"$work/client" 2>&1 || fail "the load ended early: $(tail -n 3 "$work/client")"

# Until both have seen the last request.
counted=$(requests)
[ "$counted" -ge 1000 ] || fail "only $counted requests were counted"
saw_all() {
  counted=$(requests)
  [ "$(query "$native" "histogram_count(slogate_request_duration_seconds$selector)")" = "$counted" ] &&
    [ "$(query "$classic" "slogate_request_duration_seconds_count$selector")" = "$counted" ]
}
wait_until 15 saw_all || fail "Prometheus does not come to $counted requests"

# A native bucket is 2^(1/8) wide, a classic one 2.
for quantile in p50:0.5 p90:0.9 p99:0.99; do
  ours=$(api_quantile "${quantile%:*}") q=${quantile#*:}
  theirs=$(query "$native" "histogram_quantile($q, slogate_request_duration_seconds$selector)")
  within 1.0905 "$ours" "$theirs" || fail "${quantile%:*} is $ours s, by native buckets $theirs s"
  octave=$(query "$classic" "histogram_quantile($q, slogate_request_duration_seconds_bucket$selector)")
  within 2 "$ours" "$octave" || fail "${quantile%:*} is $ours s, by classic buckets $octave s"
done

# Exact at a classic edge, too: what the one counts below 2^-8 s the other does.
below=$(query "$classic" "slogate_request_duration_seconds_bucket{cgroup=\"$server_path\",role=\"server\",le=\"0.00390625\"}")
share=$(query "$native" "histogram_fraction(0, 0.00390625, slogate_request_duration_seconds$selector)")
awk -v n="$counted" -v b="$below" -v s="$share" 'BEGIN { d = n * s - b; exit !(d < 0.5 && d > -0.5) }' ||
  fail "$below of $counted requests below 2^-8 s, but a share of $share by native buckets"

for type in counter gauge; do
  name=slogate_ticks_total
  [ "$type" = counter ] || name=slogate_build_info
  for url in "$native" "$classic"; do
    curl --silent --fail "$url/api/v1/metadata?metric=$name" |
      jq -e --arg type "$type" ".data.$name[0].type == \$type" >/dev/null || fail "$name is no $type at $url"
  done
done

curl --silent --fail --compressed "http://$metrics/metrics" >"$work/metrics"
promtool check metrics <"$work/metrics" || fail "promtool does not like the metrics"
grep -q '^slogate_scrapes_total{format="native"} [1-9]' "$work/metrics" || fail "no native scrape was counted"

# A cgroup that is gone leaves after one more scrape.
stop_process "${processes[0]}"
remove_cgroup "$cgroup_dir/server"
is_stale() { ! query "$native" "slogate_retransmits_total{cgroup=\"$server_path\"}" >/dev/null; }
wait_until 20 is_stale || fail "the series of a cgroup that is gone stay"
is_up "$native" && is_up "$classic" || fail "a target is down"
say "$counted requests: the quantiles of Prometheus, native and classic, are those of the API"
