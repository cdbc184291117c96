#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/fleet.sh [--nodes N] [--pods N] [--interval SECONDS] [--others-interval SECONDS]
#                      [--only classic|native|parts] [--good SECONDS] [--new yes]
#
# A Prometheus on this machine scrapes a fleet of N nodes with N pods each, which a program stands for
# that answers with the agent's own exporter: what classic and native histograms cost it read whole
# (every --others-interval), and what native ones cost read in parts, as docs/prometheus.md has it:
# SLOs every --interval, the rest every --others-interval. Of the last, too, whether the
# fleet's evidence is that of the engine fed with the sums of all nodes, how
# long after it a canary on 20 nodes without a stable pod that got twice as slow is vetoed, and that
# it is not before. It has been good for about a minute and a half and --good (60) more; with --new it
# was not there before and is slow from its first request. Leaves build/bench/fleet.json; needs `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

nodes=500 pods=40 interval=5 others_interval=30 only='' good=60 new=''
while (($#)); do
  case $1 in
    --nodes) nodes=$2 ;;
    --pods) pods=$2 ;;
    --interval) interval=$2 ;;
    --others-interval) others_interval=$2 ;;
    --only) only=$2 ;;
    --good) good=$2 ;;
    --new) new=hidden ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
command -v prometheus >/dev/null || die "prometheus is not installed: tools/deps test"
results=$work/results
: >"$results"

cat >"$work/web.json" <<END
{"kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"template":
  {"metadata": {"annotations": {"slogate.io/slo": "p99(request) < 10s", "slogate.io/warmup": "0s"}}}}}
END
slogate rules --workloads "$work/web.json" --interval "${interval}s" >"$work/slos.yaml"

# job NAME INTERVAL [PART]: a scrape_config of all nodes.
job() {
  local number
  printf '  - job_name: %s\n    scrape_interval: %ss\n    scrape_timeout: %ss\n' "$1" "$2" "$2"
  [ -z "${3-}" ] || printf '    params: { part: [%s] }\n' "$3"
  printf '    static_configs:\n'
  for ((number = 0; number < nodes; number++)); do
    printf '      - { targets: ["%s"], labels: { instance: node-%d, __metrics_path__: /%d/metrics } }\n' \
      "$fleet" "$number" "$number"
  done
}
# start_fleet whole|parts PROMETHEUS_ARGUMENT...: sets $fleet and $prometheus, both ADDR:PORT.
start_fleet() {
  local how=$1
  shift
  fleet=127.0.0.1:$(free_port $((20000 + RANDOM % 5000)))
  "$root/build/release/bench_fleet" "${fleet#*:}" "$nodes" "$pods" "$new" >"$work/fleet" 2>&1 &
  fleet_pid=$!
  track "$fleet_pid"
  wait_until 120 grep -qs ready "$work/fleet" || fail "the fleet does not start: $(cat "$work/fleet")"
  {
    if [ "$how" = whole ]; then
      printf 'scrape_configs:\n'
      job slogate "$others_interval"
    else
      printf 'global: { evaluation_interval: %ss }\n' "$interval"
      printf 'rule_files: ["%s/daemonset/prometheus/rules.yaml", "%s/slos.yaml"]\n' "$root" "$work"
      printf 'scrape_configs:\n'
      job slogate-slos "$interval" slos
      job slogate "$others_interval" others
    fi
  } >"$work/prometheus.yml"
  prometheus=127.0.0.1:$(free_port $((30000 + RANDOM % 5000)))
  rm -rf "$work/tsdb"
  prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
    --web.listen-address="$prometheus" "$@" >"$work/prometheus.log" 2>&1 &
  prometheus_pid=$!
  track "$prometheus_pid"
  wait_until 60 curl --silent --fail --output "$work/ready" "http://$prometheus/-/ready" ||
    fail "prometheus does not start: $(tail -n 3 "$work/prometheus.log")"
}
stop_fleet() { stop_process "$prometheus_pid" "$fleet_pid"; }

# ask QUERY: the only number of the answer; nothing where there is none.
ask() {
  curl --silent --fail --max-time 60 "http://$prometheus/api/v1/query" --data-urlencode "query=$1" |
    jq -r '.data.result[0].value[1] // ""'
}
# By the slower job, too.
all_up() { [ "$(ask 'min(count by (job) (up == 1))')" = "$nodes" ]; }
# own NAME: a metric of Prometheus about itself.
own() { curl --silent "http://$prometheus/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
is_more() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 >= b + 0) }'; }

# cost WHAT INTERVAL...: of a minute, once every node has been scraped.
cost() {
  local cpu missed
  wait_until 180 all_up || fail "$(ask 'sum(up)') of $nodes nodes are up"
  sleep 10
  cpu=$(own process_cpu_seconds_total)
  sleep 60
  cpu=$(awk -v a="$cpu" -v b="$(own process_cpu_seconds_total)" 'BEGIN { print (b - a) / 60 }')
  missed=$(ask "sum(1 - avg_over_time(up[1m]))")
  jq -nc --arg what "$1" --arg intervals "${*:2}" --argjson cpus "$cpu" --argjson missed "${missed:-0}" \
    --argjson series "$(own prometheus_tsdb_head_series)" --argjson mib "$(resident_mib "$prometheus_pid")" \
    --argjson scrape_ms "$(ask 'quantile(0.5, scrape_duration_seconds) * 1000')" \
    --argjson slowest_ms "$(ask 'max(scrape_duration_seconds) * 1000')" \
    --argjson samples "$(ask "sum(scrape_samples_scraped{job='slogate'}) / $others_interval +
      (sum(scrape_samples_scraped{job='slogate-slos'}) / $interval or vector(0))")" \
    '{what: $what, interval_seconds: $intervals, series: $series, resident_mib: ($mib | floor), cpus: $cpus,
      samples_per_second: ($samples | round), median_scrape_ms: $scrape_ms,
      slowest_scrape_ms: $slowest_ms, missed: $missed}' | tee -a "$results"
}

if [ -z "$only" ] || [ "$only" = classic ]; then
  say "classic histograms: $nodes nodes, every $others_interval s"
  start_fleet whole
  cost classic "$others_interval"
  stop_fleet
fi
if [ -z "$only" ] || [ "$only" = native ]; then
  say "native histograms: $nodes nodes, every $others_interval s"
  start_fleet whole --enable-feature=native-histograms
  cost native "$others_interval"
  stop_fleet
fi
if [ -z "$only" ] || [ "$only" = parts ]; then
  say "native histograms, with rules: $nodes nodes, SLOs every $interval s, others every $others_interval s"
  start_fleet parts --enable-feature=native-histograms
  cost parts "$interval" "$others_interval"
  expected=$(curl --silent "http://$fleet/expected" | jq .log_e)
  paired=$(ask 'slo:slogate_evidence_log_e{slo="paired",test="paired"}')
  say "evidence of all nodes: $paired by the rules, $expected by the engine"
  threshold=$(ask 'slo:slogate_evidence_threshold{slo="shop.web"}')
  log_e='slo:slogate_evidence_log_e{slo="shop.web",test="pooled"}'
  said() { [ -n "$(ask "$log_e")" ]; }
  most=
  if [ -z "$new" ]; then
    wait_until 60 said || fail "the pooled rules say nothing"
    sleep "$good"
    most=$(ask "max_over_time(${log_e}[1h])")
    say "identical arms for $(ask 'slo:slogate_pooled_blocks') intervals: at most $most of $threshold"
  fi
  begin=$(now_ms)
  curl --silent "http://$fleet/slow" >"$work/slow"
  vetoed() { is_more "$(ask "$log_e")" "$threshold"; }
  took=null
  ms_until 180 vetoed || took=null
  # A Prometheus that cannot keep up leaves out blocks of evidence.
  late=$(curl --silent "http://$prometheus/metrics" |
    awk '/^prometheus_rule_group_iterations_missed_total/ { n += $2 } END { print n + 0 }')
  say "canaries twice as slow: veto after $took ms; $late evaluations of rules were left out"
  jq -nc --argjson expected "$expected" --argjson paired "${paired:-null}" --argjson most "${most:-null}" \
    --argjson threshold "$threshold" --argjson took "$took" --argjson late "$late" \
    '{expected_log_e: $expected, log_e: $paired, identical_most: $most, threshold: $threshold,
      veto_ms: $took, evaluations_missed: $late}' >>"$results"
  stop_fleet
fi

mkdir -p "$root/build/bench"
jq -s --argjson nodes "$nodes" --argjson pods "$pods" --argjson cpus "$(nproc)" \
  '{nodes: $nodes, pods: $pods, cpus: $cpus, prometheus: map(select(.what))}
    + (map(select(.veto_ms != null or .log_e != null)) | add // {})' \
  "$results" >"$root/build/bench/fleet.json"
jq -r '.prometheus[] | [.what, .interval_seconds, .series, .resident_mib, .cpus, .samples_per_second,
    .median_scrape_ms, .missed] | @tsv' "$root/build/bench/fleet.json" |
  awk -F '\t' 'BEGIN { printf "%-8s %10s %9s %9s %6s %9s %10s %7s\n", "what", "interval s", "series",
      "MiB", "CPUs", "samples/s", "scrape ms", "missed" }
    { printf "%-8s %10s %9d %9d %6.2f %9d %10.1f %7.2f\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
