# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the benchmarks that run experiments on synthetic traffic: --runs N and --only PART OF A NAME.
# shellcheck source=../../tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

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
