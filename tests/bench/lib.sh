# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What benchmarks have in common.
# shellcheck source=../../tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

# ---- experiments on synthetic traffic: --runs N and --only PART OF A NAME ----

# run_experiments NAME RUNS ROW ENVELOPE ARGUMENT...: bench_NAME, RUNS of each experiment where the
# arguments say nothing else; prints each by the jq filter ROW as it ends, and leaves them all as
# build/bench/NAME.json, put together by the filter ENVELOPE.
run_experiments() {
  local name=$1 runs=$2 row=$3 envelope=$4 only='' program=$root/build/release/bench_$1 kept
  shift 4
  while (($#)); do
    case $1 in
      --runs) runs=$2 ;;
      --only) only=$2 ;;
      *) usage_error "$(help_text)" ;;
    esac
    shift 2
  done
  [ -x "$program" ] || die "run \`tools/build release\` first"
  mkdir -p "$root/build/bench"
  kept=$root/build/bench/$name.jsonl
  "$program" "$runs" "$(nproc)" "$only" | tee "$kept" | jq -r "$row"
  jq -s --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" "$envelope" "$kept" \
    >"$root/build/bench/$name.json"
  rm "$kept"
}

# ---- real traffic, with programs attached and without ----

here=$root/tests/bench
# Ahead of everything else that runs, where that is allowed.
ahead=(chrt --fifo 1)
"${ahead[@]}" true 2>/dev/null || ahead=(nice -n -20)
# shellcheck disable=SC2034 # for those who source this
last_cpu=$(($(nproc) - 1))

# cpu_ns PID: the CPU time its threads took so far. Those that ended are not in it.
cpu_ns() { awk '{ ns += $1 } END { printf "%.0f", ns }' "/proc/$1/task/"*/schedstat; }
# timed COMMAND...: what it says on standard error is lost; its CPU time in ns is then timed_ns.
timed() {
  TIMEFORMAT='%U %S'
  { time "$@" 2>/dev/null; } 2>"$work/time"
}
timed_ns() { awk '{ printf "%.0f", ($1 + $2) * 1e9 }' "$work/time"; }
resident_mib() { awk '/^VmRSS/ { print $2 / 1024 }' "/proc/$1/status"; }

progress() { [ ! -t 2 ] || printf '\r%-40s\r' "$*" >&2; }

# need_tracefs SCRIPT ARGUMENT...: bpftrace looks for its tracepoints there: where it is missing,
# begins anew with one of its own.
need_tracefs() {
  is_root || die "loading BPF programs needs root"
  [ -x "$root/build/release/bench_subject" ] || die "run \`tools/build release\` first"
  [ ! -d /sys/kernel/tracing/events ] || return 0
  [ -z "${SLOGATE_BENCH_UNSHARED-}" ] || die "cannot mount tracefs"
  # shellcheck disable=SC2016 # for the inner shell
  SLOGATE_BENCH_UNSHARED=1 exec unshare --mount sh -c \
    'mount -t tracefs tracefs /sys/kernel/tracing && exec "$0" "$@"' "$@"
}

# begin_work: makes $work, which goes when the script ends, as does all that start() began.
begin_work() {
  work=$(mktemp -d)
  running=()
  # shellcheck disable=SC2016 # when it ends
  on_exit 'stop_process "${running[@]}"; rm -rf "$work"'
}

# start COMMAND...: in the background, until it says "ready"; its pid in $started.
start() {
  : >"$work/said"
  "${ahead[@]}" "$@" >"$work/said" 2>"$work/errors" &
  started=$!
  running+=("$started")
  wait_until 60 grep -q ready "$work/said" || die "not ready: $* $(cat "$work/errors")"
}
stop() {
  stop_process "$1"
  local pid left=()
  for pid in "${running[@]}"; do [ "$pid" = "$1" ] || left+=("$pid"); done
  running=("${left[@]}")
}
# start_subject NAME: attaches bpftrace's or one of bench_subject's programs.
start_subject() {
  case $1 in
    bpftrace) start bpftrace -B none "$here/event.bt" ;;
    *) start "$root/build/release/bench_subject" "$1" ;;
  esac
}
# programs PID: id, name, run time and run count of the programs a process holds.
programs() {
  local ids
  ids=$(awk '$1 == "prog_id:" { print $2 }' /proc/"$1"/fdinfo/* 2>/dev/null | sort -un | jq -s .)
  bpftool -j prog show | jq -c --argjson ids "$ids" '[.[] | select(.id as $id | $ids | index($id))
    | {id, name, ns: (.run_time_ns // 0), runs: (.run_cnt // 0), missed: (.recursion_misses // 0)}]'
}
