#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the agent needs of the host: with it and nothing more it works; without a part of it, one
# line says which. Once it runs, it needs even less and has given up the rest. The CLI needs nothing.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_bpffs
need_cgroup2

# with_capabilities LIST COMMAND...: as root with these and no others.
with_capabilities() {
  local list=$1
  shift
  setpriv --bounding-set="-all${list:+,$list}" --inh-caps="-all" --no-new-privs "$@"
}
enough=+bpf,+perfmon
arguments_for() { say "--socket $work/$1.sock --pin-dir none --state-dir $work/state --listen 127.0.0.1:$(free_port 32000)"; }

# refused TEXT COMMAND...: exit 1 and one line with TEXT and a remedy.
refused() {
  local text=$1
  shift
  expect_exit 1 "$@"
  [[ $output == *"$text"* ]] || fail "without $text the agent says: $output"
  [ "$(wc -l <<<"$output")" -eq 1 ] || fail "without $text the agent says more than a line: $output"
}

read -ra arguments <<<"$(arguments_for refused)"
refused CAP_BPF with_capabilities +perfmon "$programs/slogate-agent" "${arguments[@]}"
refused CAP_PERFMON with_capabilities +bpf "$programs/slogate-agent" "${arguments[@]}"
refused BTF unshare --mount sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' sh \
  "$programs/slogate-agent" "${arguments[@]}"
# shellcheck disable=SC2016 # for the inner shell
refused cgroup2 unshare --mount sh -c 'umount -l "$0" && exec "$@"' "$(cgroup2_root)" \
  "$programs/slogate-agent" "${arguments[@]}"

expect_exit 1 unshare --mount sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' sh \
  "$programs/slogate" doctor
[[ $output == *BTF* && $output == *cgroup* && $output == *CAP_BPF* ]] ||
  fail "doctor does not list everything: $output"
passed "what is missing is named"

# Enough is enough: it starts, counts and grows.
pins=/sys/fs/bpf/slogate-e2e-$$
on_exit "cleanup; '$programs/slogate-agent' --unpin --pin-dir '$pins'"
agent_prefix="setpriv --bounding-set=-all,$enough --inh-caps=-all --no-new-privs" start_agent --pin-dir "$pins"
[ "$(api /v1/status | jq '.degraded | length')" -eq 0 ] ||
  fail "degraded: $(api /v1/status | jq -c .degraded)"
# What each thread is left with is CAP_BPF, capability 39, and the system calls of a filter.
for status in "/proc/$agent_pid/task"/*/status; do
  [ "$(awk '/^(CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs|Seccomp):/ { print $2 }' "$status" | xargs)" = \
    "0000000000000000 0000008000000000 0000008000000000 0000000000000000 1 2" ] ||
    fail "more is left than CAP_BPF: $(grep -E '^(Cap|NoNew|Seccomp)' "$status")"
done
passed "CAP_BPF and CAP_PERFMON are enough, and it keeps the first alone"
# Its memory is closed to who has the same uid and capabilities, as that of others is not.
setpriv --bounding-set=-all,+bpf --inh-caps=-all sleep 60 &
other=$!
track "$other"
memory_is_open() { with_capabilities +bpf cat "/proc/$1/environ" >/dev/null 2>&1; }
wait_until 5 memory_is_open "$other" || fail "nobody's memory is open here"
! memory_is_open "$agent_pid" || fail "who can do no more than the agent can read its memory"
passed "its memory is closed to who can do no more"
api /v1/maps/slogate_slab/resize --request POST --data '{"entries": 300}' >/dev/null
inside=$(make_cgroup inside)
run_in_cgroup "$inside" curl --silent --output /dev/null "http://$metrics/metrics"
counted() { [ "$(api "/v1/cgroups?match=$cgroup_prefix/inside" | jq '[.[].signals.client_request.count] | add')" = 1 ]; }
wait_until 20 counted || fail "with $enough a request is not counted: $(api /v1/cgroups)"
passed "so it counts and grows"
# The CLI, as a user with nothing but the socket's group.
chmod 755 "$work"
cp "$programs/slogate" "$work"
as_member() {
  setpriv --reuid=65534 --regid="$(stat -c %g "$socket")" --clear-groups --bounding-set=-all \
    --inh-caps=-all --no-new-privs "$work/slogate" --socket "$socket" "$@"
}
for command in cgroups maps "maps slogate_index" probes slos verdict events "hist $cgroup_prefix/inside"; do
  # shellcheck disable=SC2086 # words of a command
  expect_exit 0 as_member $command
done
expect_exit 64 as_member gate nothing
expect_exit 1 as_member maps resize slogate_slab --entries 400
[[ $output == *"not allowed"* || $output == *403* || $output == *root* ]] ||
  fail "a member of the group may resize: $output"
stop_agent
passed "the CLI needs nothing but the group of the socket"
