#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The image, imported and run by a real containerd with what the DaemonSet says: capabilities, mounts,
# read-only root, memory limit, containerd's own seccomp profile. A new container goes on counting
# where the last one ended, and without a capability one line says which.
set -euo pipefail
for program in containerd ctr runc jq redis-server; do
  command -v "$program" >/dev/null || { echo "$program is not installed" && exit 77; }
done
# With mounts and processes of its own: containerd's shims outlive whoever started them.
if [ -z "${SLOGATE_OUTER_PID-}" ]; then
  unshare --mount --pid --fork true 2>/dev/null || { echo "needs root" && exit 77; }
  SLOGATE_OUTER_PID=$$ exec unshare --mount --pid --fork --kill-child --mount-proc "$0"
fi
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
name=slogate-e2e-$SLOGATE_OUTER_PID
cgroup_prefix=/$name
cgroup_dir=$(cgroup2_root)$cgroup_prefix
pins=/sys/fs/bpf/$name
mount -t tmpfs tmpfs /run
[ "$(stat -f -c %T /sys/fs/bpf)" = bpf_fs ] || mount -t bpf bpf /sys/fs/bpf ||
  skip "no bpffs at /sys/fs/bpf, and none can be mounted"

# ---- the image ----

digest=$("$root/tools/image" | tail -n 1)
image=$root/build/image/slogate.tar
size=$(stat -c %s "$image")
[ "$("$root/tools/image" | tail -n 1)" = "$digest" ] || fail "two builds have not the same digest"
tar -xOf "$image" "$(tar -xOf "$image" manifest.json | jq -r '.[0].Layers[0]')" |
  tar -tvzf - >"$work/contents"
! grep -E '^-..s|^-.....s|bin/(ba|da)?sh$|/(apt|dpkg)$' "$work/contents" ||
  fail "the image has a shell, a package manager or a file with the set-user-id bit"
passed "two builds of the image are the same, of $size bytes, with nothing in it that could be used"

containerd_up() { ctr version >/dev/null 2>&1; }
cat >"$work/containerd.toml" <<END
version = 2
root = "$work/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.internal.v1.opt"]
  path = "$work/opt"
END
containerd --config "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
track $!
wait_until 20 containerd_up || fail "containerd does not answer: $(tail -n 2 "$work/containerd.log")"
ctr images import "$image" >"$work/import.log"
reference=$(tar -xOf "$image" index.json | jq -r '.manifests[0].annotations["io.containerd.image.name"]')
[ "$(ctr images ls "name==$reference" | awk 'NR == 2 { print $3 }')" = "$digest" ] ||
  fail "containerd knows the image by another digest: $(ctr images ls)"

# ---- what the DaemonSet says ----

manifest=$root/daemonset/base/daemonset.yaml
value_of() { grep -m 1 -oP "$1" "$manifest" || fail "daemonset.yaml does not say $1"; }
read -ra capabilities <<<"$(value_of '\badd: \[\K[^]]+' | tr -d ,)"
pin_dir=$(value_of '\[--pin-dir=\K[^]]+')
memory=$(($(value_of 'limits: .*memory: \K\d+') << 20))
mounts=()
while read -r volume target access; do
  case $volume in
    config) mkdir -p "$work/config" && source=$work/config && cp "$root/daemonset/base/slogate.yaml" "$source" ;;
    state) mkdir -p "$work/state" && source=$work/state ;;
    *)
      source=$(grep -A 1 -E "^ +- name: $volume\$" "$manifest" | grep -oP 'path: \K[^,]+')
      mkdir -p "$source"
      ;;
  esac
  mounts+=(--mount "type=bind,src=$source,dst=$target,options=rbind:${access:-rw}")
done < <(sed -nE 's/.*\{ name: (\w+), mountPath: ([^, ]+)(, readOnly: (t)rue)?.*/\1 \2 \4/p' "$manifest" |
  sed 's/ t$/ ro/')
[ ${#mounts[@]} -eq 10 ] || fail "daemonset.yaml has other mounts than expected: ${mounts[*]}"

dropped=()
for capability in CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP \
  NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE; do
  dropped+=(--cap-drop "CAP_$capability")
done
port=$(free_port $((20000 + RANDOM % 10000)))
# container NAME CTR-ARGUMENT... : of $granted, with the pins of this test alone.
container() {
  local id=$1
  shift
  ctr run --net-host --read-only --seccomp --memory-limit "$memory" --cgroup "/$name-$id" \
    "${dropped[@]}" "${granted[@]/#/--cap-add=CAP_}" "${mounts[@]}" "$@" "$reference" "$id" \
    /usr/bin/slogate-agent "--pin-dir=${pin_dir%/*}/$name" --listen "127.0.0.1:$port"
}
end_container() {
  ctr task kill "$1" 2>/dev/null || true
  wait_until 10 is_stopped "$1" || ctr task kill --signal KILL "$1"
  ctr task delete "$1" >/dev/null 2>&1 || true
  ctr container delete "$1" 2>/dev/null || true
}
is_stopped() { ! ctr task ls | grep -E "^$1 .* RUNNING" >/dev/null; }
end_all() {
  local id
  for id in $(ctr container ls -q 2>/dev/null); do end_container "$id"; done
  "$programs/slogate-agent" --unpin --pin-dir "$pins"
}
on_exit "end_all; cleanup"

# ---- it serves ----

socket=/run/slogate/agent.sock
serves() { api /v1/status >"$work/status" 2>/dev/null; }
start_container() {
  local begin
  begin=$(now_ms)
  granted=("${capabilities[@]}")
  container "$1" --detach --log-uri "file://$work/$1.log"
  wait_until 20 serves || fail "the agent does not answer: $(cat "$work/$1.log")"
  took=$(($(now_ms) - begin))
}
# in_container NAME COMMAND...
in_container() { ctr task exec --exec-id "exec-$RANDOM" "$1" "${@:2}"; }

start_container first
first_took=$took
[ "$(stat -c '%a %u' "$socket")" = "660 0" ] || fail "the socket is $(stat -c '%a %u' "$socket")"
in_container first /usr/bin/slogate probes >"$work/probes"
! tail -n +2 "$work/probes" | grep -vE '^$| attached | not needed|^[a-z_]+: ' ||
  fail "not all is attached: $(cat "$work/probes")"
in_container first /usr/bin/slogate doctor >"$work/doctor" || true
grep -q '^ok  *bpffs  *'"${pin_dir%/*}" "$work/doctor" || fail "doctor says: $(cat "$work/doctor")"
[ "$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port/healthz")" = 200 ] ||
  fail "/healthz does not answer"
passed "it serves $first_took ms after the container is asked for"

# ---- the next one goes on ----

redis_port=$(free_port 26000)
run_in_cgroup "$(make_cgroup server)" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" \
  >"$work/redis.log" 2>&1 &
track $!
ping() { redis-cli -p "$redis_port" -r "$1" ping >/dev/null 2>&1; }
wait_until 10 ping 1 || fail "redis does not answer: $(cat "$work/redis.log")"
requests() { api "/v1/cgroups?match=$cgroup_prefix/server" | jq '[.[].signals.request.count // 0] | add // 0'; }
counted() { [ "$(requests)" -eq "$1" ]; }
is_counted() { wait_until 5 counted "$1" || fail "$(requests) requests are counted, not $1"; }
wait_until 5 counted 1 || fail "$(requests) requests are counted, not the first one"
ping 10
is_counted 11
end_container first
ping 10
start_container second
grep -q 'counting went on' "$work/second.log" || fail "the second agent says: $(cat "$work/second.log")"
ping 10
is_counted 31
end_container second
passed "the next container goes on counting"

# ---- and without a capability ----

# Nothing is there that would only have to be taken up.
"$programs/slogate-agent" --unpin --pin-dir "$pins"
without() {
  granted=()
  local capability
  for capability in "${capabilities[@]}"; do
    [ "$capability" = "$1" ] || granted+=("$capability")
  done
}
for missing in "${capabilities[@]}"; do
  without "$missing"
  expect_exit 1 container "without-$missing" --rm
  [[ $output == *"CAP_$missing"* ]] || fail "without $missing the agent says: $output"
done
passed "it needs ${capabilities[*]}"
