#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/http2.sh [--pairs N] [--seconds N] [LOAD...]
#
# What a server of HTTP/2 at its limit loses: nginx and nghttpd under h2load, 100 streams on each of four
# connections, with answers of 5 bytes, and nginx with such of 200 kB; grpc-go under its own client, 100 calls on one
# connection. Without slogate and with an agent that reads every answer. Server and client on a CPU each over
# loopback, both ends traced; in pairs of N seconds each, the order changing from pair to pair. How much gets through
# in a second, and the CPU time of both ends for it, which is less shaken by what else runs.
# Leaves build/bench/http2.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

pairs=10 seconds=2
while [[ ${1-} = --* ]]; do
  case $1 in
    --pairs) pairs=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
loads=(nginx nginx_bulk nghttpd grpc_go)
[ $# -eq 0 ] || loads=("$@")
for command in nginx nghttpd h2load go curl; do
  command -v "$command" >/dev/null || die "$command is not installed: tools/deps test bench"
done
is_root || die "loading BPF programs needs root"
begin_work

# ---- servers ----

# serve NAME COMMAND...: at $port, which is kept in ${ports[NAME]}.
declare -A ports servers
serve() {
  "${ahead[@]}" taskset -c 0 "${@:2}" >"$work/errors" 2>&1 &
  running+=($!)
  servers[$1]=$!
  ports[$1]=$port
  wait_until 10 port_is_taken "$port" || die "$1 does not start: $(cat "$work/errors")"
}
mkdir "$work/files"
say "well" >"$work/files/ok"
port=$(free_port 7500)
cat >"$work/nginx.conf" <<CONFIG
daemon off;
master_process off;
pid $work/pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $work; proxy_temp_path $work; fastcgi_temp_path $work; uwsgi_temp_path $work; scgi_temp_path $work;
  keepalive_requests 1000000000;
  root $work/files;
  sendfile on;
  server {
    listen 127.0.0.1:$port http2 backlog=4096;
    location /ok { return 200 "well\\n"; }
  }
}
CONFIG
head -c 200000 /dev/zero >"$work/files/bulk"
serve nginx nginx -e stderr -c "$work/nginx.conf"
port=$(free_port 7600)
serve nghttpd nghttpd --no-tls --address 127.0.0.1 --htdocs "$work/files" "$port"
port=$(free_port 7700)
GOCACHE=${XDG_CACHE_HOME:-$HOME/.cache}/slogate/go GOPATH=/usr/share/gocode GO111MODULE=off \
  go build -o "$work/grpc" "$root/tests/e2e/http2/grpc.go" || die "grpc.go does not build: tools/deps test"
serve grpc_go env GOMAXPROCS=1 "$work/grpc" serve -port "$port"

# ---- loads: each prints how much got through in a second ----

client() { timed "${ahead[@]}" taskset -c "$last_cpu" "$@"; }
h2load_at() {
  client h2load --duration "$1" --threads 1 --clients 4 --max-concurrent-streams 100 "http://127.0.0.1:${ports[$2]}$3" |
    awk '/^finished in/ { print $4 }'
}
nginx() { h2load_at "$1" nginx /ok; }
nginx_bulk() { h2load_at "$1" nginx /bulk; }
nghttpd() { h2load_at "$1" nghttpd /ok; }
grpc_go() {
  client env GOMAXPROCS=1 "$work/grpc" ask -port "${ports[grpc_go]}" -number 100000000 -concurrent 100 -for "$1s" /answer/0 |
    awk -v seconds="$1" '{ n += $2 } END { print n / seconds }'
}
server_of() { say "${servers[${1%_bulk}]}"; }

# measure LOAD: {"per_s": ..., "cpu_ns": ...} of a stream.
measure() {
  local server before rate
  server=$(server_of "$1")
  before=$(cpu_ns "$server")
  rate=$("$1" "$seconds")
  jq -nc --argjson per_s "$rate" --argjson server $(($(cpu_ns "$server") - before)) --argjson seconds "$seconds" \
    --argjson client "$(timed_ns)" '{$per_s, cpu_ns: (($server + $client) / ($per_s * $seconds))}'
}

# Its budget would leave programs out, and a server at its limit is what is measured.
printf 'outcomes: all\ncpu_ratio: 1\n' >"$work/slogate.yaml"
start_agent() {
  agent_arguments "$work/agent.sock" "127.0.0.1:$(free_port 7800)" "$work/state" --config "$work/slogate.yaml"
  "$root/build/release/slogate-agent" "${arguments[@]}" >"$work/agent.log" 2>&1 &
  started=$!
  running+=("$started")
  wait_until 20 answers || die "the agent does not answer: $(tail -n 1 "$work/agent.log")"
}
answers() { curl --silent --fail --output /dev/null --unix-socket "$socket" http://localhost/v1/status; }

# measure_pair PAIR LOAD
measure_pair() {
  local without with first=$((($1 + 1) % 2))
  ((first)) || without=$(measure "$2")
  start_agent
  "$2" 1 >"$work/warm" # its maps are warm then
  with=$(measure "$2")
  stop "$started"
  ((!first)) || without=$(measure "$2")
  say "{\"pair\": $1, \"load\": \"$2\", \"without\": $without, \"with\": $with}"
}

: >"$work/pairs"
for load in "${loads[@]}"; do
  "$load" 1 >"$work/warm"
  for ((pair = 1; pair <= pairs; pair++)); do
    measure_pair "$pair" "$load" >>"$work/pairs"
    progress "$load: pair $pair of $pairs"
  done
done
progress ''

mkdir -p "$root/build/bench"
jq -s -L "$here" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson seconds "$seconds" 'include "stats";
  {benchmark: "http2", $kernel, $cpus, $seconds, pairs: .,
   loads: [group_by(.load)[]
     | {load: .[0].load, without_per_s: (map(.without.per_s) | quantile(0.5)),
        with_per_s: (map(.with.per_s) | quantile(0.5)), without_cpu_ns: (map(.without.cpu_ns) | quantile(0.5)),
        with_cpu_ns: (map(.with.cpu_ns) | quantile(0.5)),
        lost_percent: (map(100 * (1 - .with.per_s / .without.per_s)) | spread),
        cpu_percent: (map(100 * (.with.cpu_ns / .without.cpu_ns - 1)) | spread)}]}' "$work/pairs" >"$root/build/bench/http2.json"
jq -r 'def tenths: . * 10 | round / 10;
  def of_pairs: "\(.median | tenths) % (quartiles \(.q1 | tenths) to \(.q3 | tenths))";
  .loads[] | "\(.load): \(.lost_percent | of_pairs) less of \(.without_per_s | round) streams a second, \(.cpu_percent | of_pairs) more CPU time (\(.with_cpu_ns - .without_cpu_ns | round) ns of \(.without_cpu_ns | round) a stream), \(.lost_percent.n) pairs"' \
  "$root/build/bench/http2.json"
