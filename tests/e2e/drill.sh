#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 600
# tools/drill: what it says when called wrongly, faults on arms of an agent that runs and on a pair of its own, and
# that nothing of a fault stays, neither at the end nor where the drill is broken off.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
drill=$root/tools/drill

# ---- wrong usage ----

expect_exit 0 "$drill" --help
[[ $output == *"--deployment"* ]] || fail "--help does not name the options: $output"
# says TEXT ARGUMENT...: it is refused in words that have TEXT.
says() {
  expect_exit 64 "$drill" "${@:2}"
  [[ $output == *"$1"* ]] || fail "drill ${*:2} does not say \"$1\": $output"
}
says 'no fault "fast"; there are: slow hang' fast
says "no option --fault" --fault
says "--slo takes a value" --slo
says '--limit takes a number from 1 to 99999, not "0"' --limit 0
says '--limit takes a number from 1 to 99999, not "60s"' --limit 60s
says "one pair at a time" --slo demo --deployment shop/web
says "errors takes servers of the drill's own" --slo demo errors
says "--deployment takes NAMESPACE/NAME" --deployment web
expect_exit 1 "$drill" --slo demo --socket "$work/none.sock"
[[ $output == *"no agent answers on $work/none.sock"* ]] || fail "without an agent: $output"
passed "wrong usage is refused by name"

# ---- arms of an agent that runs ----

slos_of_arms >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
start_arm stable --service lognormal:2:0.5
start_arm canary --service lognormal:2:0.5
wait_until 60 is demo pass || fail "the canary does not pass: $(of demo message)"
expect_exit 1 "$drill" --slo other --socket "$socket"
[[ $output == *'knows no SLO "other"'*"demo bounded"* ]] || fail "of an SLO that is not there: $output"

freeze=$cgroup_dir/canary/cgroup.freeze
expect_exit 0 "$drill" --slo demo --socket "$socket" slow
# FAULT, ON, and seconds in each column but the last.
[[ $output =~ slow\ +demo\ on\ this\ node\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9]+) ]] ||
  fail "no row of what was seen: $output"
[ "${BASH_REMATCH[4]}" -gt 0 ] || fail "the canary answered nothing: $output"
[[ $output == *"of request: canary"* ]] || fail "the table does not say why: $output"
[ "$(cat "$freeze")" = 0 ] || fail "the canary still stands still"
is demo veto && fail "the veto of the drill is still there"
passed "a canary that stands still for half of the time: ${BASH_REMATCH[0]}"

"$drill" --slo demo --socket "$socket" hang >"$work/drill" 2>&1 &
broken_off=$!
track "$broken_off"
stands_still() { [ "$(cat "$freeze")" = 1 ]; }
wait_until 150 stands_still || fail "the canary does not stand still: $(cat "$work/drill")"
kill -TERM "$broken_off"
runs_again() { [ "$(cat "$freeze")" = 0 ]; }
wait_until 10 runs_again || fail "a drill that was broken off leaves the canary frozen"
wait_until 20 is_gone "$broken_off" || fail "the drill does not end"
passed "a drill that is broken off lets the canary run again"
stop_agent

# ---- a pair of its own ----

for program in nginx curl; do
  command -v "$program" >/dev/null || { left_out "nginx whose answers fail: $program is not installed" && exit; }
done
expect_exit 0 "$drill" --baseline 20 errors
[[ $output =~ errors\ +nginx,\ 300/s\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9]+) ]] ||
  fail "no row of what was seen: $output"
row=${BASH_REMATCH[0]}
[[ $output == *"errors: canary"* ]] || fail "the veto is for something else: $output"
passed "nginx whose answers fail: $row"
