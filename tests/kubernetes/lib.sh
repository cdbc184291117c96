# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests against a real API server: each is a script that sources this and exits with 0 (passed),
# 77 (can't run here; its last line says why) or anything else (failed). Whatever was started through
# these functions is stopped when the script ends.
# shellcheck source=../e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"

apiserver_pid=
server= # https://HOST:PORT of the API server
subject_names=IP:127.0.0.1
# Without kubelets nobody would give pods their tokens.
apiserver_arguments=(--authorization-mode=RBAC --disable-admission-plugins=ServiceAccount)

# The API server first, or it would complain of an etcd that is gone.
cleanup_servers() {
  [ -z "$apiserver_pid" ] || kill_apiserver
  if [ "$exit_status" -ne 0 ] && [ "$exit_status" -ne 77 ]; then
    local log
    for log in "$work"/*.log; do
      [ ! -s "$log" ] || { say "${log##*/} ends with:" && tail -n 8 "$log" | cut -c 1-500; }
    done
  fi
  cleanup 2>/dev/null || true # a cluster has mounts in $work
}
on_exit cleanup_servers

need_kubernetes() {
  local program
  for program in etcd etcdctl curl jq openssl; do
    command -v "$program" >/dev/null || skip "$program is not installed: tools/deps kubernetes"
  done
  binaries=$("$root/tests/kubernetes/binaries.sh" kube-apiserver) ||
    skip "kube-apiserver can't be built here"
}

# The packages of package.json are found from $work; they come with the first run, and without a network there
# is no second opinion.
need_schemas() {
  local program here=$root/tests/kubernetes packages
  command -v kubectl >/dev/null || skip "kubectl is not installed: tools/deps kubernetes"
  for program in npm node; do
    command -v "$program" >/dev/null || skip "$program is not installed, which brings the schemas"
  done
  npm_packages "$here/package.json" || skip "npm cannot install the schemas"
  ln -s "$packages/node_modules" "$work/node_modules"
  cp "$here/package.json" "$work"
}

# $work/daemonset/overlays/all: our components, as an overlay of somebody's would have them; the key is
# theirs to make. In hexadecimal digits kustomize would break it into lines, which the schema's validator,
# unlike servers, does not take.
make_components_overlay() {
  cp -rL "$root/daemonset" "$work/daemonset"
  openssl rand -out "$work/daemonset/components/fleet/peer.key" 32
  mkdir "$work/daemonset/overlays/all"
  cat >"$work/daemonset/overlays/all/kustomization.yaml" <<'END'
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: slogate-system
resources: [../plain]
components: [../../components/fleet, ../../components/own-pods, ../../components/enforce]
END
}

# A CA and a certificate of it for $subject_names, the key that signs tokens of service accounts, and
# the administrator's token.
make_certificates() {
  local pki=$work/pki
  mkdir "$pki"
  admin_token=$(openssl rand -hex 16)
  (umask 077 && say "$admin_token,admin,admin,system:masters" >"$work/tokens.csv")
  openssl genrsa -out "$pki/sa.key" 2048
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=slogate-ca \
    -keyout "$pki/ca.key" -out "$pki/ca.crt"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=slogate-apiserver \
    -keyout "$pki/server.key" -out "$pki/server.csr"
  openssl x509 -req -in "$pki/server.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
    -days 2 -extfile <(say "subjectAltName=$subject_names") -out "$pki/server.crt"
} >"$work/openssl.log" 2>&1

# Ports are looked for from a place of chance, so that two runs don't meet.
start_etcd() {
  local port
  port=$(free_port $((21000 + RANDOM % 10000)))
  etcd_url=http://127.0.0.1:$port
  etcd --data-dir "$work/etcd" --unsafe-no-fsync --log-level error \
    --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
    --listen-peer-urls "http://127.0.0.1:$(free_port $((port + 1)))" >"$work/etcd.log" 2>&1 &
  track $!
  wait_until 20 curl -sf -o "$work/etcd.health" "$etcd_url/health" || fail "etcd does not answer"
}
# Debian's etcd is 3.4, which knows the newer flag or the older one.
etcd_control() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" "$@"; }

host_of() { local address=${1#*://} && say "${address%:*}"; }

# Returns when it is ready. What it was told before is in etcd; it starts again at the same place. It
# takes no privileged pod, as none of ours is.
start_apiserver() {
  [ -n "$server" ] || server=https://127.0.0.1:$(free_port $((31000 + RANDOM % 1000)))
  "$binaries/kube-apiserver" --etcd-servers="$etcd_url" --bind-address="$(host_of "$server")" \
    --secure-port="${server##*:}" --cert-dir="$work/certs" --tls-cert-file="$work/pki/server.crt" \
    --tls-private-key-file="$work/pki/server.key" --service-cluster-ip-range=10.96.0.0/16 \
    --service-account-issuer=https://kubernetes.invalid \
    --service-account-signing-key-file="$work/pki/sa.key" \
    --service-account-key-file="$work/pki/sa.key" --token-auth-file="$work/tokens.csv" \
    "${apiserver_arguments[@]}" --allow-privileged=false >>"$work/apiserver.log" 2>&1 &
  apiserver_pid=$!
  wait_until 60 apiserver_answers_or_ended || fail "the API server is not ready after 60 s"
  is_running "$apiserver_pid" || fail "the API server ended"
}
apiserver_answers_or_ended() {
  is_gone "$apiserver_pid" || kube GET /readyz >"$work/ready" 2>&1
}
# Killed: it closes nothing and says nothing.
kill_apiserver() {
  kill -KILL "$apiserver_pid"
  wait "$apiserver_pid" 2>/dev/null || true
  apiserver_pid=
}

# For curl by its own name the server formats its answers in a way that a server of 1.20, built with a
# newer Go, does not survive.
user_agent=slogate-test

# kube METHOD PATH [BODY [CONTENT TYPE]]: as administrator; the body, and fails unless it is 2xx.
kube() {
  local body=()
  [ $# -lt 3 ] || body=(--data-binary "$3" -H "Content-Type: ${4:-application/json}")
  curl --silent --show-error --fail-with-body --max-time 20 -A "$user_agent" --cacert "$work/pki/ca.crt" \
    -H "Authorization: Bearer $admin_token" -X "$1" "${body[@]}" "$server$2"
}

# kubectl as administrator, which remembers nothing beyond the test.
write_kubeconfig() {
  cat >"$work/kubeconfig" <<END_CONFIG
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "$server", certificate-authority: "$work/pki/ca.crt"}}]
users: [{name: it, user: {token: "$admin_token"}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
current-context: it
END_CONFIG
}
kubectl() { command kubectl --kubeconfig "$work/kubeconfig" --cache-dir "$work/kube-cache" "$@"; }

# Many calls by one process over one connection: stdin is {method, path, body} for each; prints one
# line for each answer.
kube_batch() {
  jq -r --arg server "$server" --arg ca "$work/pki/ca.crt" --arg agent "$user_agent" \
    --arg token "$admin_token" '
    {PATCH: "application/strategic-merge-patch+json"} as $types |
    "silent", "show-error", "fail", "user-agent = \($agent)", "cacert = \($ca)",
    "header = \"Authorization: Bearer \($token)\"", "request = \(.method)",
    "header = \"Content-Type: \($types[.method] // "application/json")\"",
    "url = \($server + .path | @json)", "data-binary = \(.body | tojson | @json)",
    "write-out = \"\\n\"", "next"' | sed '$d' | curl --config - | jq -c .
}

# allow RULES: what the agent's service account may do; {} for nothing.
allow() {
  local role
  role=$(jq -nc --argjson rules "$1" '{apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole", metadata: {name: "slogate-agent"}, rules: $rules}')
  kube PUT /apis/rbac.authorization.k8s.io/v1/clusterroles/slogate-agent "$role" >"$work/answer" ||
    kube POST /apis/rbac.authorization.k8s.io/v1/clusterroles "$role" >"$work/answer"
}

# The agent's own account in namespace kube-system.
make_service_account() {
  kube POST /api/v1/namespaces/kube-system/serviceaccounts \
    '{"metadata": {"name": "slogate-agent"}}' >"$work/answer"
  kube POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{
    "metadata": {"name": "slogate-agent"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "slogate-agent"},
    "subjects": [{"kind": "ServiceAccount", "namespace": "kube-system", "name": "slogate-agent"}]
  }' >"$work/answer"
}

# new_token SECRET: a token that is good for as long as that secret is there.
new_token() {
  local uid
  uid=$(kube POST /api/v1/namespaces/kube-system/secrets "{\"metadata\": {\"name\": \"$1\"}}" |
    jq -r .metadata.uid)
  kube POST /api/v1/namespaces/kube-system/serviceaccounts/slogate-agent/token "{\"spec\": {
    \"audiences\": [\"https://kubernetes.invalid\"], \"expirationSeconds\": 3600,
    \"boundObjectRef\": {\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"name\": \"$1\", \"uid\": \"$uid\"}
  }}" | jq -r .status.token
}
