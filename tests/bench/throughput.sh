#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/throughput.sh [--pairs N] [--seconds N]
#
# What a server at its limit loses: nginx with kept and with short connections, and iperf3 in bulk,
# without programs and with ours, or with those of bpftrace that do a part of the job (see
# event.sh, which has redis). Server and client on a CPU each over loopback, both ends traced; in pairs of
# N seconds each, the order changing from pair to pair. How much gets through in a second, and the CPU
# time of both ends for it, which is less shaken by what else runs. Leaves build/bench/throughput.json;
# needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

pairs=10 seconds=2
while (($#)); do
  case $1 in
    --pairs) pairs=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
for command in nginx wrk iperf3; do
  command -v "$command" >/dev/null || die "$command is not installed: tools/deps test bench"
done
need_tracefs "$0" --pairs "$pairs" --seconds "$seconds"
begin_work

# ---- servers ----

port=$(free_port 7500)
mkdir "$work/nginx"
cat >"$work/nginx.conf" <<END
daemon off;
worker_processes 1;
pid $work/nginx/pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $work/nginx;
  proxy_temp_path $work/nginx;
  fastcgi_temp_path $work/nginx;
  uwsgi_temp_path $work/nginx;
  scgi_temp_path $work/nginx;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:$port backlog=4096;
    location / { return 200 "hello\\n"; }
  }
}
END
"${ahead[@]}" taskset -c 0 nginx -e stderr -c "$work/nginx.conf" 2>"$work/errors" &
running+=($!)
wait_until 10 port_is_taken "$port" || die "nginx does not start: $(cat "$work/errors")"
servers=("${running[-1]}" "$(pgrep -P "${running[-1]}")")
bulk_port=$(free_port 7600)
"${ahead[@]}" taskset -c 0 iperf3 --server --bind 127.0.0.1 --port "$bulk_port" >"$work/bulk" 2>&1 &
running+=($!)
wait_until 10 port_is_taken "$bulk_port" || die "iperf3 does not start: $(cat "$work/bulk")"
servers+=("${running[-1]}")
servers_ns() {
  local pid sum=0
  for pid in "${servers[@]}"; do ((sum += $(cpu_ns "$pid"))); done
  say "$sum"
}

# ---- loads: each prints how much got through in a second ----

client() { timed "${ahead[@]}" taskset -c "$last_cpu" "$@"; }
requests_of() { awk '$1 == "Requests/sec:" { print $2 }'; }
nginx_keep_alive() {
  client wrk --threads 1 --connections 50 --duration "$1s" "http://127.0.0.1:$port/" | requests_of
}
nginx_short() {
  client wrk --threads 1 --connections 50 --duration "$1s" --header 'Connection: close' \
    "http://127.0.0.1:$port/" | requests_of
}
iperf3_bulk() {
  client iperf3 --client 127.0.0.1 --port "$bulk_port" --time "$1" --json |
    jq '.end.sum_received.bits_per_second / 8'
}

# measure LOAD: {"per_s": ..., "cpu_ns": ...} of a request or byte.
measure() {
  local before rate
  before=$(servers_ns)
  rate=$("$1" "$seconds")
  jq -nc --argjson per_s "$rate" --argjson servers $(($(servers_ns) - before)) --argjson seconds "$seconds" \
    --argjson client "$(timed_ns)" \
    '{$per_s, cpu_ns: (($servers + $client) / ($per_s * $seconds))}'
}

# measure_pair PAIR SUBJECT LOAD
measure_pair() {
  local without with first=$((($1 + 1) % 2))
  ((first)) || without=$(measure "$3")
  start_subject "$2"
  "$3" 1 >"$work/warm" # its maps are warm then
  with=$(measure "$3")
  stop "$started"
  ((!first)) || without=$(measure "$3")
  say "{\"pair\": $1, \"subject\": \"$2\", \"load\": \"$3\", \"without\": $without, \"with\": $with}"
}

: >"$work/pairs"
for load in nginx_keep_alive nginx_short iperf3_bulk; do
  "$load" 1 >"$work/warm"
  for ((pair = 1; pair <= pairs; pair++)); do
    for subject in slogate bpftrace; do
      measure_pair "$pair" "$subject" "$load" >>"$work/pairs"
      progress "$load: pair $pair of $pairs: $subject"
    done
  done
done
progress ''

mkdir -p "$root/build/bench"
jq -s -L "$here" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson seconds "$seconds" 'include "stats";
  {benchmark: "throughput", $kernel, $cpus, $seconds, pairs: .,
   loads: [group_by(.load, .subject)[]
     | {load: .[0].load, subject: .[0].subject, without_per_s: (map(.without.per_s) | quantile(0.5)),
        with_per_s: (map(.with.per_s) | quantile(0.5)), without_cpu_ns: (map(.without.cpu_ns) | quantile(0.5)),
        lost_percent: (map(100 * (1 - .with.per_s / .without.per_s)) | spread),
        cpu_percent: (map(100 * (.with.cpu_ns / .without.cpu_ns - 1)) | spread)}]}' "$work/pairs" >"$root/build/bench/throughput.json"
jq -r 'def tenths: . * 10 | round / 10;
  def of_pairs: "\(.median | tenths) % (quartiles \(.q1 | tenths) to \(.q3 | tenths))";
  .loads[] | "\(.load) \(.subject): \(.lost_percent | of_pairs) less of \(.without_per_s | round) a second, \(.cpu_percent | of_pairs) more CPU time, \(.lost_percent.n) pairs"' \
  "$root/build/bench/throughput.json"
