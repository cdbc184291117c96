# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A cluster of one node for tests, of real parts: etcd, API server, controllers, scheduler, kubelet,
# containerd and CNI, with network, mounts and processes of its own. Everything ends with the script,
# whatever it started. Pods are in cgroup v2 also where the machine keeps its controllers in v1, as
# the kubelet and containerd are told to leave limits alone.
#
# A test sources this, which starts it again in there, and calls start_cluster. What needs the
# machine's network, packages and servers, is made before: there is none inside. No function of a
# test may be called `install`, as coreutils' is used here.
#
# The servers are Kubernetes 1.20, the newest whose source is in Debian 12, or those in the folder
# $SLOGATE_BINARIES. What only 1.20 takes, or needs, says so.
# shellcheck source=../../tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

cluster_ip=10.96.0.1 # of the service `kubernetes`, which here needs no kube-proxy: it is ours
node_ip=10.124.0.1
node=node1

# in_cluster ARGUMENT...: starts the script again in namespaces and a cgroup of its own.
in_cluster() {
  [ -z "${SLOGATE_CLUSTER_CGROUP-}" ] || return 0
  local cgroup program temporary status=0
  [ -n "$(cgroup2_root)" ] || { say "no cgroup2 is mounted here" && exit 77; }
  unshare --net --mount --pid --fork true 2>/dev/null || { say "needs root" && exit 77; }
  for program in etcd containerd runc kubectl jq curl openssl ip pgrep /usr/lib/cni/ptp; do
    command -v "$program" >/dev/null ||
      { say "${program##*/} is not installed: tools/deps kubernetes cluster" && exit 77; }
  done
  [ -n "${SLOGATE_BINARIES-}" ] || SLOGATE_BINARIES=$("$root/tests/kubernetes/binaries.sh" \
    kube-apiserver kube-controller-manager kube-scheduler kubelet) ||
    { say "Kubernetes can't be built here" && exit 77; }
  export SLOGATE_BINARIES
  "$root/tools/image" || exit
  # Where pods have mounts only the machine can clean up, when they are gone.
  cgroup=$(cgroup2_root)/slogate-cluster-$$
  temporary=$(mktemp -d "${TMPDIR:-/tmp}/slogate-cluster.XXXXXX")
  on_exit "remove_cgroup '$cgroup' || say 'cannot remove $cgroup'; rm -rf '$temporary'"
  mkdir -p "$cgroup/servers"
  # In the background, so that a signal ends the cluster, too, and not only this shell's wait for it.
  # shellcheck disable=SC2016 # for the inner shell
  TMPDIR=$temporary SLOGATE_CLUSTER_CGROUP=$cgroup unshare --net --mount --pid --fork --kill-child --mount-proc \
    --propagation private bash -c 'echo 0 >"$SLOGATE_CLUSTER_CGROUP/servers/cgroup.procs" && exec "$@"' \
    bash "$0" "$@" &
  wait $! || status=$?
  exit "$status"
}
in_cluster "$@"
# shellcheck source=lib.sh
. "$root/tests/kubernetes/lib.sh"

# What of the machine's files the node's programs write to is a passing copy.
make_node() {
  mount --make-rshared /
  local cgroup2
  cgroup2=$(cgroup2_root)
  [ "$cgroup2" = /sys/fs/cgroup ] || mount --bind "$cgroup2" /sys/fs/cgroup
  mount -t bpf bpf /sys/fs/bpf
  local directory
  for directory in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$directory"; done
  mkdir -p /run/lock
  ip link set lo up
  ip address add "$cluster_ip/32" dev lo
  ip link add slogate0 type bridge
  ip address add "$node_ip/24" dev slogate0
  ip link set slogate0 up
  ip route add default dev slogate0
  { cat /etc/hosts && say "$node_ip $node"; } >"$work/hosts"
  mount --bind "$work/hosts" /etc/hosts
  # What the kubelet insists on writing.
  local setting name value
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    name=${setting%=*} value=${setting#*=}
    say "$value" >"$work/${name//\//.}"
    mount --bind "$work/${name//\//.}" "/proc/sys/$name"
  done
}

# run_server NAME COMMAND...
run_server() {
  "${@:2}" >"$work/$1.log" 2>&1 &
  track $!
}

start_containerd() {
  mkdir -p "$work/cni"
  say '{"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.88.0.0/16"}}]}' >"$work/cni/10.conflist"
  cat >"$work/containerd.toml" <<END_TOML
version = 2
root = "$work/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "slogate.test/load:1"
  restrict_oom_score_adj = true
  disable_cgroup = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$work/cni"
END_TOML
  run_server containerd containerd --config "$work/containerd.toml"
  wait_until 30 containerd_answers || fail "containerd does not answer"
}
containerd_answers() { ctr version >"$work/answer" 2>&1; }

# import_programs NAME CONFIG PROGRAM...: an image of these programs, in /bin, with the shared libraries they
# need; what more is to be in it lies in $work/image/root.
import_programs() {
  local name=$1 config=$2 image=$work/image id file
  mkdir -p "$image/root/bin" "$image/root/tmp"
  for file in "${@:3}"; do strip -o "$image/root/bin/${file##*/}" "$file"; done
  while read -r file; do install -D "$file" "$image/root$file"; done \
    < <(ldd "${@:3}" | grep -oE '/[^ :]+\.so[^ :]*' | sort -u)
  tar -C "$image/root" -cf "$image/layer.tar" .
  id=$(sha256sum "$image/layer.tar" | cut -d ' ' -f 1)
  jq -n --arg id "sha256:$id" --argjson config "$config" \
    '{architecture: "amd64", os: "linux", rootfs: {type: "layers", diff_ids: [$id]}, config: $config}' >"$image/config.json"
  jq -n --arg name "$name" '[{Config: "config.json", RepoTags: [$name], Layers: ["layer.tar"]}]' >"$image/manifest.json"
  tar -C "$image" -cf "$work/programs.tar" manifest.json config.json layer.tar
  import_image "$work/programs.tar"
  rm -r "$image"
}
# import_load_image: slogate.test/load:1, a server and a client, and what sandboxes run.
import_load_image() {
  import_programs slogate.test/load:1 '{"Entrypoint": ["/bin/slogate-load", "--max-seconds", "86400"], "Cmd": ["serve", "--port", "0"]}' \
    "$programs/slogate-load"
}
import_image() { ctr -n k8s.io images import "$1" >>"$work/import.log" 2>&1 || fail "cannot import $1"; }

# Of 1.MINOR, which these servers are.
minor_version() { "$binaries/kubelet" --version | sed -n 's/^Kubernetes v1\.\([0-9]*\).*/\1/p'; }

node_is_ready() { kubectl get node "$node" 2>/dev/null | grep ' Ready' >/dev/null; }

# Returns when the node is Ready; kubectl is administrator.
start_cluster() {
  binaries=$SLOGATE_BINARIES
  make_node
  subject_names="IP:127.0.0.1,IP:$cluster_ip,IP:$node_ip"
  make_certificates
  start_etcd
  server=https://$cluster_ip:443
  apiserver_arguments=(--advertise-address="$node_ip" "--authorization-mode=Node,RBAC")
  start_apiserver
  write_kubeconfig
  say "the API server is ready"
  start_containerd
  import_load_image
  run_server controllers "$binaries/kube-controller-manager" --kubeconfig="$work/kubeconfig" \
    --service-account-private-key-file="$work/pki/sa.key" --root-ca-file="$work/pki/ca.crt" \
    --leader-elect=false --bind-address=127.0.0.1
  run_server scheduler "$binaries/kube-scheduler" --kubeconfig="$work/kubeconfig" --leader-elect=false \
    --bind-address=127.0.0.1
  # Before 1.24 the kubelet takes docker where nothing is said; since 1.27 it knows no other than this.
  local runtime=()
  (($(minor_version) >= 24)) || runtime=(--container-runtime=remote)
  run_server kubelet "$binaries/kubelet" --kubeconfig="$work/kubeconfig" --hostname-override="$node" \
    --node-ip="$node_ip" --root-dir="$work/kubelet" --cert-dir="$work/kubelet-pki" \
    "${runtime[@]}" --container-runtime-endpoint=unix:///run/containerd/containerd.sock \
    --cgroup-driver=cgroupfs --cgroups-per-qos=false --enforce-node-allocatable= --fail-swap-on=false \
    --authorization-mode=AlwaysAllow --oom-score-adj=0 --eviction-hard= \
    --image-gc-high-threshold=100 --healthz-port=0 --read-only-port=0 --max-pods=200 \
    --kube-api-qps=50 --kube-api-burst=100
  wait_until 90 node_is_ready || fail "the node is not Ready"
  say "the node is Ready"
}
