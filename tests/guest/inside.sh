#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The job of agent.sh, in a guest: the agent with its defaults, where cgroup2 and bpffs are at their
# usual places. Leaves what it saw in /out/kernel.json.
set -uo pipefail
programs=/usr/bin
# shellcheck source=../../tools/lib.sh
. /lib.sh
# shellcheck source=traffic.sh
. /traffic.sh
PATH=$programs:$PATH
seen=/out/kernel.json

fail() {
  echo "FAILED: $*"
  cat /tmp/agent.log
  exit 1
}
api() { curl -sS --fail --unix-socket /run/slogate/agent.sock "http://localhost$1"; }

slogate doctor -o json >/tmp/doctor.json
usable=$?
slogate doctor | cat
jq -n --arg kernel "$(uname -r)" --slurpfile doctor /tmp/doctor.json \
  '{kernel: $kernel, doctor: $doctor[0]}' >$seen

slogate-agent >/tmp/agent.log 2>&1 &
agent=$!
if [ "$usable" -ne 0 ]; then
  # doctor says that it cannot run here, and so it must not, for the reason doctor gives.
  wait "$agent" && fail "the agent runs where doctor says it can't"
  reason=$(jq -r '[.findings[] | select(.state == "missing")][0] |
    .name + ": " + .detail + " (" + .remedy + ")"' /tmp/doctor.json)
  grep -qF "$reason" /tmp/agent.log || fail "the agent does not say: $reason"
  jq --rawfile said /tmp/agent.log '. + {refused: $said}' $seen >/tmp/kernel.json
  mv /tmp/kernel.json $seen
  cat /tmp/agent.log
  exit 0
fi
# Before 6.12 nothing reads what arrives at a client.
jq -e '[.findings[] | select(.state != "ok" and .name != "agent" and .name != "tracepoint tcp_probe")] == []' \
  /tmp/doctor.json >/dev/null ||
  fail "doctor finds something wrong"
for ((try = 0; try < 300; try++)); do
  ! api /v1/status >/dev/null 2>&1 || break
  sleep 0.1
done

mkdir /sys/fs/cgroup/guest
traffic /sys/fs/cgroup/guest $seen
slogate probes | cat
slogate cgroups | cat

curl -sS --fail http://127.0.0.1:9937/metrics >/tmp/metrics || fail "no metrics"
grep -q '^slogate_request_duration_seconds_count{.*cgroup="/guest"' /tmp/metrics ||
  fail "the cgroup is not in the metrics"
kill "$agent"
wait "$agent" || fail "the agent ended with $?"
ls /sys/fs/bpf/slogate/link_* >/dev/null || fail "no pins"
slogate-agent --unpin || fail "--unpin"
[ -z "$(ls /sys/fs/bpf)" ] || fail "pins are left"
