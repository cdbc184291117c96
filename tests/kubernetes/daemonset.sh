#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The DaemonSet on a node of its own: etcd, API server, controllers, kubelet and containerd run the
# image as the manifests say. It becomes ready, answers `kubectl exec`, goes on counting through a
# rolling update, and has no more privileges than it was given.
set -euo pipefail
# shellcheck source=../../tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"
here=$root/tests/kubernetes

# Processes, mounts, ports and what lies in /run are the node's own and end with it. Its cgroups are
# the host's, as kubelet wants to see all of them: they are removed here, once nothing is in them.
node_cgroups() {
  awk -v name="$name" '$3 ~ /^cgroup2?$/ { print $2 "/" name }' /proc/self/mounts
}
make_node_cgroups() {
  local directory file
  while read -r directory; do
    mkdir "$directory"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "${directory%/*}/$file" ] || cat "${directory%/*}/$file" >"$directory/$file"
    done
  done < <(node_cgroups)
}
remove_node_cgroups() {
  local directory
  while read -r directory; do
    [ ! -d "$directory" ] || find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
  done < <(node_cgroups)
}
end_node() {
  [ -z "${node-}" ] || kill -KILL "$node" 2>/dev/null || true
  wait_until 10 remove_node_cgroups || say "can't remove the cgroups of $name"
}
if [ -z "${SLOGATE_NODE_NAME-}" ]; then
  is_root || { say "needs root" && exit 77; }
  for program in containerd ctr etcd kubectl jq gcc openssl; do
    command -v "$program" >/dev/null || { say "$program is not installed: tools/deps kubernetes package" && exit 77; }
  done
  name=slogate-e2e-$$
  on_exit end_node
  make_node_cgroups
  SLOGATE_NODE_NAME=$name unshare --mount --pid --net --fork --kill-child --mount-proc \
    --propagation private "$0" &
  node=$!
  status=0
  wait "$node" || status=$?
  exit "$status"
fi

# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
servers=$("$here/binaries.sh" kube-apiserver kube-controller-manager kube-scheduler kubelet) ||
  skip "Kubernetes cannot be built here"
"$root/tools/image" >"$work/image.log"
architecture=$(dpkg --print-architecture)
mount --make-rshared /
# Where kubelet and the pods' host paths would leave something.
for directory in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$directory"; done
[ "$(stat -f -c %T /sys/fs/bpf)" = bpf_fs ] || mount -t bpf bpf /sys/fs/bpf ||
  skip "no bpffs at /sys/fs/bpf, and none can be mounted"
ip link set lo up
ip link add node type bridge
ip address add 10.124.0.1/24 dev node
ip link set node up
ip route add default dev node
# Nobody is there who would answer.
mount --bind /dev/null /etc/resolv.conf
# What kubelet sets on its node is not this machine's.
while read -r setting value; do
  echo "$value" >"$work/${setting##*/}"
  mount --bind "$work/${setting##*/}" "/proc/sys/$setting"
done <<'END'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# run NAME COMMAND...: with its log; everything ends with this script.
run() {
  "${@:2}" >"$work/$1.log" 2>&1 &
  processes=("$!" "${processes[@]}")
}
cleanup_node() {
  ((exit_status == 0 || exit_status == 77)) || tail -n 5 "$work"/*.log
  # Shims and containers go with the namespace's first process.
  rm -rf "$work" 2>/dev/null || true
}
on_exit cleanup_node

# ---- the node ----

cd "$work"
openssl genrsa -out key 2048 2>/dev/null
echo 'token,admin,admin,system:masters' >tokens.csv
cat >kubeconfig <<'END'
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: it, user: {token: token}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
current-context: it
END
mkdir cni pause
# All pods are in the host's network, but kubelet wants to see that there is another.
echo '{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}' >cni/10.conflist
cat >containerd.toml <<END
version = 2
root = "$work/containerd"
state = "/run/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "$work/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "slogate.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$work/cni"
END
echo 'int pause(void); int main(void) { for (;;) pause(); }' | gcc -static -O1 -x c -o pause/pause -
tar -cf layer.tar -C pause pause
digest=sha256:$(sha256sum layer.tar | cut -d ' ' -f 1)
jq -n --arg digest "$digest" '{architecture: "'"$architecture"'", os: "linux",
  config: {Entrypoint: ["/pause"]}, rootfs: {type: "layers", diff_ids: [$digest]}}' >config.json
echo '[{"Config": "config.json", "RepoTags": ["slogate.test/pause:1"], "Layers": ["layer.tar"]}]' >manifest.json
tar -cf pause.tar config.json manifest.json layer.tar

run etcd etcd --data-dir etcd-data --log-level error
run apiserver "$servers/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 \
  --advertise-address=10.124.0.1 --cert-dir=certificates --service-cluster-ip-range=10.96.0.0/16 \
  --service-account-issuer=https://slogate.test --service-account-signing-key-file=key \
  --service-account-key-file=key --token-auth-file=tokens.csv --authorization-mode=Node,RBAC \
  --kubelet-preferred-address-types=InternalIP
run containerd containerd --config containerd.toml
is_ready() {
  ctr version >/dev/null 2>&1 &&
    [ "$(curl --silent --insecure --header 'Authorization: Bearer token' https://127.0.0.1:6443/readyz)" = ok ]
}
wait_until 60 is_ready || fail "the API server or containerd is not ready"
for image in pause.tar "$root/build/image/slogate.tar"; do ctr --namespace k8s.io images import "$image" >/dev/null; done
run controllers "$servers/kube-controller-manager" --kubeconfig=kubeconfig --leader-elect=false \
  --service-account-private-key-file=key --root-ca-file=certificates/apiserver.crt \
  --use-service-account-credentials=false --bind-address=127.0.0.1 --port=0
run scheduler "$servers/kube-scheduler" --kubeconfig=kubeconfig --leader-elect=false \
  --bind-address=127.0.0.1 --port=0
run kubelet "$servers/kubelet" --kubeconfig=kubeconfig --container-runtime=remote \
  --container-runtime-endpoint=unix:///run/containerd/containerd.sock --cgroup-driver=cgroupfs \
  --cgroup-root="/$SLOGATE_NODE_NAME" --root-dir="$work/kubelet-root" \
  --volume-plugin-dir="$work/kubelet-plugins" --cert-dir="$work/kubelet-certificates" \
  --hostname-override=node --node-ip=10.124.0.1 --anonymous-auth=true --authorization-mode=AlwaysAllow \
  --fail-swap-on=false --oom-score-adj=0 --eviction-hard= --image-gc-high-threshold=100 --healthz-port=0
kube() { kubectl --kubeconfig "$work/kubeconfig" --cache-dir "$work/kube-cache" -n slogate-system "$@"; }
node_is_ready() { kube get node node 2>/dev/null | grep -q ' Ready'; }
wait_until 60 node_is_ready || fail "the node is not ready: $(kube get nodes)"
say "[$SECONDS s] the node is ready"

# ---- the DaemonSet ----

rolled_out() { kube rollout status daemonset/slogate --timeout=60s || fail "$(kube describe pods | tail -n 20)"; }
kube apply -k "$root/daemonset/overlays/plain"
# The controller has to see it first.
is_scheduled() { [ "$(kube get daemonset slogate -o jsonpath='{.status.desiredNumberScheduled}')" = 1 ]; }
wait_until 20 is_scheduled || fail "the DaemonSet has no pod"
rolled_out
socket=/run/slogate/agent.sock
[ "$(api /v1/status | jq -r '.notes[]' | grep -c '^CAP_\|^bpffs')" = 0 ] || fail "it lacks $(api /v1/status | jq -c .notes)"
kube exec daemonset/slogate -- slogate probes >"$work/probes"
! tail -n +2 "$work/probes" | grep -vE '^$| attached | not needed|^send_.*: ' || fail "not all is attached: $(cat "$work/probes")"
status=/proc/$(pgrep -x slogate-agent)/status
# What it may have at the most are capabilities 38 and 39; what it has by now is 39, CAP_BPF.
[ "$(awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/ { print $2 }' "$status" | xargs)" = \
  "0000008000000000 000000c000000000 1 2" ] || fail "it has other privileges: $(grep -E '^(Cap|NoNew|Seccomp)' "$status")"

# ---- a rolling update ----

cp -r "$root/daemonset" "$work/deployed"
sed -i 's/^slos:/maps: { grace: 61s }\n&/' "$work/deployed/base/slogate.yaml"
first=$(kube get pods -o jsonpath='{.items[0].metadata.name}')
kube apply -k "$work/deployed/overlays/plain" >/dev/null
is_new() { kube get pods -o json | jq -e '.items | length == 1 and .[0].metadata.name != "'"$first"'"' >/dev/null; }
wait_until 60 is_new || fail "it is not rolled: $(kube get pods)"
rolled_out
kube logs daemonset/slogate >"$work/second"
grep -q 'counting went on' "$work/second" || fail "the new pod says: $(cat "$work/second")"
[ "$(kube get pods -o jsonpath='{.items[0].status.containerStatuses[0].restartCount}')" = 0 ] || fail "it was restarted"

# ---- removed ----

kube delete -k "$work/deployed/overlays/plain" >/dev/null
# What docs/install.md says about nodes that the agent has left.
rm -r /sys/fs/bpf/slogate
say "a kubelet runs the DaemonSet, and rolls it without losing a count"
