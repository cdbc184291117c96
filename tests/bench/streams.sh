#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/streams.sh [--rounds N] [--requests N]
#
# What following HTTP/2 costs: ns of our programs for each request, by the kernel's own statistics, with
# the streams told apart and without, least of N rounds; and the requests a second. h2load
# against nghttpd over loopback, both ends traced: one request at a time, ten on each of ten connections,
# and bodies of 1 MB, in which each frame of DATA is 16 KB. Leaves build/bench/streams.json; needs root
# and `tools/build release`.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

rounds=3 requests=20000
while (($#)); do
  case $1 in
    --rounds) rounds=$2 ;;
    --requests) requests=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
for command in nghttpd h2load; do
  command -v "$command" >/dev/null || die "$command is not installed: tools/deps test bench"
done
is_root || die "loading BPF programs needs root"
begin_work

port=$(free_port 7700)
mkdir "$work/files"
echo hello >"$work/files/small"
head -c 1000000 /dev/zero >"$work/files/large"
nghttpd --no-tls -d "$work/files" "$port" >/dev/null 2>&1 &
running+=($!)
wait_until 10 port_is_taken "$port" || die "nghttpd does not start"

# load REQUESTS CONNECTIONS STREAMS FILE: sets $rate to requests a second.
load() {
  h2load -n "$1" -c "$2" -m "$3" "http://127.0.0.1:$port/$4" >"$work/load"
  rate=$(awk '/^finished/ { print $4 }' "$work/load")
}

# measure SUBJECT NAME REQUESTS CONNECTIONS STREAMS FILE: a line of JSON.
measure() {
  local before after
  before=$(programs "$started")
  load "${@:3}"
  after=$(programs "$started")
  jq -nc --arg subject "$1" --arg load "$2" --argjson requests "$3" --argjson rate "$rate" \
    --argjson before "$before" --argjson after "$after" '
    INDEX($before[]; .id) as $old
    | {subject: $subject, load: $load, per_s: $rate,
       ns: ([$after[] | .ns - ($old["\(.id)"].ns // 0)] | add // 0 | . / $requests)}'
}
measure_all() {
  measure "$1" "one at a time" "$requests" 1 1 small
  measure "$1" "ten on ten" "$requests" 10 10 small
  measure "$1" "1 MB" $((requests / 40)) 2 2 large
}

started=$$ # has no programs
measure_all none >/dev/null
for ((round = 1; round <= rounds; round++)); do
  started=$$
  measure_all none >>"$work/rows"
  start "$root/build/release/bench_subject" stats
  stats=$started
  for subject in slogate slogate-answers; do
    start_subject "$subject"
    measure_all "$subject" >>"$work/rows"
    stop "$started"
    progress "round $round of $rounds: $subject"
  done
  stop "$stats"
done
progress ''

mkdir -p "$root/build/bench"
jq -s --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" '
  {kernel: $kernel, cpus: $cpus, rows: (group_by([.load, .subject]) | map(
    {load: .[0].load, subject: .[0].subject, ns: (map(.ns) | min), per_s: (map(.per_s) | max)}))}' \
  "$work/rows" >"$root/build/bench/streams.json"
jq -r '"load subject ns/request requests/s", (.rows[] |
  "\(.load | gsub(" "; "-")) \(.subject) \(.ns | round) \(.per_s | round)")' \
  "$root/build/bench/streams.json" | column -t
