#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Argo Rollouts' `web` provider and Flagger's webhooks against a real agent on --api-listen, by a
# client that behaves as theirs do: each verdict, an unknown SLO, an agent that is gone, hangs or
# starts, connections left idle, and a thousand of them.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
ulimit -n 4096 # for the thousand

cat >"$work/slogate.yaml" <<END
slos:
  - name: production.payment-api
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    objectives: [{ signal: request, quantile: 0.99, max: 1ms }]
    warmup: 0s
  - name: easy
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    objectives: [{ signal: request, quantile: 0.99, max: 2s }]
    warmup: 0s
  - name: absent
    canary: { cgroup: "$cgroup_prefix/nothing/**" }
    objectives: [{ signal: request, quantile: 0.99, max: 2s }]
END
port=$(free_port $((20000 + RANDOM % 10000)))
start=(--config "$work/slogate.yaml" --api-listen "127.0.0.1:$port")
start_agent "${start[@]}"
start_arm canary --service lognormal:4:0.5

# argo SLO [SUCCESS] [FAILURE] [TIMES]: the phase of a measurement; by default of the gate's.
argo() {
  "$programs/controller" argo "$port" "/v1/verdicts/$1" "${2-pass}" "${3-veto}" "${4-1}"
}
is_phase() { [ "$(argo "$1")" = "$2" ]; }
# webhook TYPE SLO [RETRIES]: "yes" or "no", the status, the text.
webhook() {
  local body='{"name": "payment-api", "namespace": "production", "phase": "Progressing", "checksum": "8b4c9"}'
  [ "$2" = production.payment-api ] ||
    body='{"name": "x", "namespace": "y", "phase": "Progressing", "checksum": "1", "metadata": {"slo": "'$2'"}}'
  "$programs/controller" flagger "$port" "/flagger/$1" "$body" "${3-0}"
}
# expect_webhooks SLO TYPE=STATUS...
expect_webhooks() {
  local slo=$1 expected answer word
  shift
  for expected; do
    answer=$(webhook "${expected%=*}" "$slo")
    word=no
    [ "${expected#*=}" != 200 ] || word=yes
    [[ $answer == "$word ${expected#*=} "* ]] || fail "$slo, ${expected%=*}: $answer"
  done
}

# A veto, a pass, and what holds: no canary, an unknown SLO, another revision.
wait_until 30 is easy pass || fail "no pass: $(of easy message)"
wait_until 60 is production.payment-api veto || fail "no veto: $(of production.payment-api message)"
before=$(now_ms)
for expected in production.payment-api=Failed easy=Successful absent=Inconclusive \
  unknown.slo=Inconclusive "production.payment-api?revision=7d9fc6b8d5=Inconclusive" \
  "easy?revisoin=x=Error" "easy/=Error"; do
  got=$(argo "${expected%=*}")
  [ "$got" = "${expected##*=}" ] || fail "Argo makes $got of ${expected%=*}"
done
for slo in easy absent unknown.slo; do
  [ "$(argo "$slo" "" veto 20 | sort -u)" = Successful ] || fail "the background analysis fails for $slo"
done
always="confirm-rollout=200 pre-rollout=200 post-rollout=200 event=200"
# shellcheck disable=SC2086 # several words
expect_webhooks production.payment-api rollback=200 rollout=412 confirm-traffic-increase=412 \
  confirm-promotion=412 $always
# shellcheck disable=SC2086
expect_webhooks easy rollback=409 rollout=200 confirm-traffic-increase=200 confirm-promotion=200 $always
for slo in absent unknown.slo; do
  # shellcheck disable=SC2086
  expect_webhooks "$slo" rollback=409 rollout=200 confirm-traffic-increase=412 \
    confirm-promotion=412 $always
done
expect_webhooks easy nothing=404 rollback/=404
[[ $(webhook rollout production.payment-api) == "no 412 veto: "* ]] || fail "no reason is given"
passed "each verdict as documented, $(($(now_ms) - before)) ms"

# The Unix socket tells what is unknown, nothing can be changed over TCP, and no answer is a page of
# someone else's.
expect_exit 22 api /v1/verdicts/unknown.slo
tcp() { curl --silent --output "$work/body" --write-out '%{http_code}' --max-time 10 "http://127.0.0.1:$port$1" "${@:2}"; }
[ "$(tcp /v1/slos/easy/reset --request POST)" = 403 ] || fail "TCP resets"
[ "$(tcp /v1/maps/slogate_slab/resize --data '{"entries": 500}')" = 403 ] || fail "TCP resizes"
for path in /flagger/rollback /flagger/rollout; do
  [ "$(tcp $path)" = 405 ] || fail "GET $path is not refused"
  [ "$(tcp $path --data '{"name": "payment-api"')" = 400 ] || fail "$path takes half a body"
  [ "$(tcp $path --data-binary @- <"$programs/slogate")" = 413 ] || fail "$path takes any body"
done
is production.payment-api veto || fail "asking changed the verdict"
passed "nothing can be changed over TCP"

# A thousand connections are left idle: others are answered, and who comes back is.
say "a thousand idle connections ..."
read -r answered longest ended again < <("$programs/controller" idle "$port" /v1/verdicts/easy 1000)
[ "$answered" = 50 ] || fail "only $answered of 50 were answered beside 1,000 idle connections"
[ "$ended" = 1000 ] || fail "only $ended of 1,000 idle connections were ended after 40 s"
[ "$again" = 1000 ] || fail "only $again of 1,000 clients came back"
passed "50 of 50 newcomers were answered, in at most $longest ms; 1,000 of 1,000 came back"

# While the agent restarts there are errors and then the veto, and never anything else.
"$programs/controller" argo "$port" /v1/verdicts/production.payment-api pass veto 400 >"$work/phases" &
measuring=$!
stop_agent
[ "$(argo easy)" = Error ] || fail "Argo makes $(argo easy) of an agent that is gone"
[[ $(webhook rollback production.payment-api) == "no 0 "* ]] || fail "a missing agent rolls back"
start_agent "${start[@]}"
wait "$measuring"
[ "$(sort -u "$work/phases" | xargs) $(tail -n 1 "$work/phases")" = "Error Failed Failed" ] ||
  fail "during a restart: $(sort "$work/phases" | uniq -c | xargs)"
passed "while the agent restarts there are errors, and then the veto"

# An agent that hangs: an error each time, after Argo's ten seconds.
kill -STOP "$agent_pid"
[ "$(argo easy)" = Error ] || fail "a hanging agent is no error"
[[ $(webhook rollback production.payment-api) == "no 0 "* ]] || fail "a hanging agent rolls back"
kill -CONT "$agent_pid"
# One that comes back between two tries: Flagger tries again.
kill -STOP "$agent_pid"
webhook rollback production.payment-api 1 >"$work/again" &
retrying=$!
sleep 10.5
kill -CONT "$agent_pid"
wait "$retrying"
grep -q '^yes 200 ' "$work/again" || fail "after a retry: $(cat "$work/again")"
stop_agent
passed "an agent that hangs is an error, and Flagger tries again"
