#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The verdict on real traffic: two servers in two cgroups, 1,000 requests a second each. What is no
# worse is not vetoed, what is slow is, what hangs does not pass, and a veto outlives the agent.
# SLOGATE_QUIET: how many seconds identical arms are watched (default 30).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2

quiet=${SLOGATE_QUIET:-30}
config=$work/slogate.yaml
slos_of_arms >"$config"

start_agent --config "$config"
[ "$(of demo reason)" = no_canary ] || fail "without a canary: $(of demo reason)"
expect_exit 2 slogate gate demo
expect_exit 64 slogate gate nothing
expect_exit 22 api /v1/gate/demo
[[ $output == *'"error"'* ]] || fail "the closed gate says nothing: $output"
api "/v1/gate/demo?allow=hold" >/dev/null || fail "allow=hold does not let hold through"
expect_exit 0 slogate slos
expect_exit 22 api "/v1/slos/nothing/reset" --request POST
passed "without a canary the gate is closed"

# The baseline alone, until its self-test is through.
start_arm stable --service lognormal:2:0.5
sleep 65

# Identical arms.
start_arm canary --service lognormal:2:0.5
new_rollout
for ((second = 0; second < quiet; second++)); do
  sleep 1
  ! is demo veto || fail "identical arms were vetoed: $(of demo message)"
done
expect_exit 0 slogate gate bounded --wait --timeout 60s
passed "identical arms are not vetoed; after $quiet s: $(of demo verdict), $(of demo reason); blocks of $(of demo block_seconds) s"
stop_arm

# Twice as slow.
start_arm canary --service lognormal:4:0.5
new_rollout
ms_until 90 is demo veto || fail "a canary twice as slow was not vetoed: $(of demo message)"
passed "all quantiles x 2: veto after $took ms: $(of demo message)"
expect_exit 1 slogate gate demo
expect_exit 1 slogate gate demo --wait
# The veto outlives the agent, and is there with the first answer.
stop_agent
start_agent --config "$config"
is demo veto || fail "the veto was lost with the agent"
[ "$(jq -r 'select(.verdict.verdict == "veto").verdict.slo' "$work/state/audit.jsonl")" = demo ] ||
  fail "the audit log does not have the veto once: $(cat "$work/state/audit.jsonl")"
report=$(slogate report "$work/state" -o json)
jq -e '.vetoed == 1 and ([.list[] | select(.end == "veto")][0] | .slo == "demo" and .canary_requests >= 200 and .seconds_to_veto > 0)' \
  <<<"$report" >/dev/null || fail "the report says $report"
slogate report "$work/state" -o html | grep '<td class="veto">veto</td>' >/dev/null || fail "the report's page does not show the veto"
slogate events | grep -q . || true # a reader that ends first, on purpose
new_rollout
! is demo veto || fail "a new rollout keeps the veto"
passed "the veto outlives the agent, and ends with its rollout"
stop_arm

# A canary that hangs after it was good.
start_arm canary --service lognormal:2:0.5 --hang-after 20000
new_rollout
expect_exit 0 slogate gate bounded --wait --timeout 15s
ms_until 40 hangs canary || fail "the canary does not hang"
ms_until 2 not_pass || fail "a hung canary still passes after 3 s: $(of bounded message)"
passed "a hang does not pass: $(of bounded verdict), $(of bounded reason) after $took ms"
stop_agent
