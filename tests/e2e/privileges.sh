#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the agent needs of the host: with it and nothing more it works; without a part of it, one
# line says which. Once it runs, it needs even less and has given up the rest.
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

# Enough is enough: it starts, counts and grows.
pins=/sys/fs/bpf/slogate-e2e-$$
on_exit "cleanup; '$programs/slogate-agent' --unpin --pin-dir '$pins'"
agent_prefix="setpriv --bounding-set=-all,$enough --inh-caps=-all --no-new-privs" start_agent --pin-dir "$pins"
[ "$(api /v1/status | jq '.degraded | length')" -eq 0 ] ||
  fail "degraded: $(api /v1/status | jq -c .degraded)"
# What each thread is left with is CAP_BPF, capability 39.
for status in "/proc/$agent_pid/task"/*/status; do
  [ "$(awk '/^(CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs)/ { print $2 }' "$status" | xargs)" = \
    "0000000000000000 0000008000000000 0000008000000000 0000000000000000 1" ] ||
    fail "more is left than CAP_BPF: $(grep -E '^(Cap|NoNew)' "$status")"
done
api /v1/maps/slogate_slab/resize --request POST --data '{"entries": 300}' >/dev/null
inside=$(make_cgroup inside)
run_in_cgroup "$inside" curl --silent --output /dev/null "http://$metrics/metrics"
counted() { [ "$(api "/v1/cgroups?match=$cgroup_prefix/inside" | jq '[.[].signals.client_request.count] | add')" = 1 ]; }
wait_until 20 counted || fail "with $enough a request is not counted: $(api /v1/cgroups)"
stop_agent
say "CAP_BPF and CAP_PERFMON are enough, and what is missing is named"
