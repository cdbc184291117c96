#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that mean no good, against a real agent: 10,000 that are idle, slow or do not read, on the
# Unix socket and on TCP; other uids; other mount namespaces; requests that are none. Whatever they
# do, a gate is answered, the agent ticks and counts, and what it uses stays small.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
ulimit -n 12000 2>/dev/null || skip "10,000 connections need as many descriptors"

crowd=${SLOGATE_CROWD:-10000}
cat >"$work/slogate.yaml" <<END
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    objectives: [{ signal: request, quantile: 0.99, max: 1s }]
END
api_port=$(free_port $((20000 + RANDOM % 5000)))
# As few descriptors as a process has by default.
ulimit -Sn 1024
start_agent --config "$work/slogate.yaml" --api-listen "127.0.0.1:$api_port"
ulimit -Sn 12000
metrics_port=${metrics##*:}

memory() { awk '/^RssAnon/ { print $2 }' "/proc/$agent_pid/status"; } # KiB
descriptors() { find "/proc/$agent_pid/fd" -mindepth 1 | wc -l; }
ticks() { api /v1/status | jq .ticks || say 0; }
tcp_api() { curl --silent --fail-with-body --max-time 10 "http://127.0.0.1:$api_port$1"; }

# ---- crowds ----

# answered COMMAND...: how many of 20 calls succeed, and how many of these at once. A newcomer whose
# request comes later than a hundred other newcomers has lost its place to them, and tries again.
answered() {
  local i count=0 at_once=0
  for ((i = 0; i < 20; i++)); do
    if "$@" >/dev/null 2>&1; then
      ((at_once += 1, count += 1))
    elif wait_until 60 "$@" >/dev/null 2>&1; then
      ((count += 1))
    fi
  done
  say "$count $at_once"
}
gate() { [ "$(api "/v1/gate/demo" | jq -r .verdict)" = hold ]; }
tcp_gate() { [ "$(tcp_api /v1/verdicts/demo | jq -r .verdict)" = hold ]; }
scrape() { curl --silent --fail --max-time 10 "http://$metrics/metrics" | grep '^slogate_build_info'; }

# beside WHAT TARGET COMMAND...: the command is answered beside a crowd there.
beside() {
  local what=$1 target=$2 count at_once begin
  "$programs/hostile" "$what" "$crowd" "$target" >"$work/crowd" 2>&1 &
  local pid=$!
  track "$pid"
  wait_until 60 grep -q ready "$work/crowd" || fail "$crowd $what clients of $target: $(cat "$work/crowd")"
  begin=$(ticks)
  read -r count at_once < <(answered "${@:3}")
  ((count == 20)) || fail "beside $crowd $what clients of $target only $count of 20 were answered"
  wait_until 20 ticked "$begin" || fail "beside $crowd $what clients of $target it does not tick"
  (($(descriptors) < 1024)) || fail "it has $(descriptors) descriptors"
  stop_process "$pid"
  passed "beside $crowd $what clients of ${target##*/}: 20 of 20 answered, $at_once at once; they connected $(tail -n 1 "$work/crowd") times; $(memory) KiB"
}
ticked() { (($(ticks) > $1 + 1)); }

before=$(memory)
for what in idle slow deaf; do
  beside "$what" "$socket" gate
  beside "$what" "$api_port" tcp_gate
done
beside idle "$metrics_port" scrape
beside slow "$metrics_port" scrape
# Who asks for metrics without an end keeps that thread busy, and no other.
beside deaf "$metrics_port" gate
# In a container with the usual 192 MiB this has to fit beside the maps that are in use.
(($(memory) < before + 131072)) || fail "it grew from $before to $(memory) KiB"
passed "it grew from $before KiB to $(memory) KiB"

# ---- other users ----

chmod 755 "$work"
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"; }
as_member() { setpriv --reuid=65534 --regid="$(stat -c %g "$socket")" --clear-groups "$@"; }
ask() { # PATH [CURL ARGUMENT...]
  curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 --unix-socket "$socket" "http://localhost$1" "${@:2}"
}
export -f ask
export socket
# expect WHO CODE PATH [CURL ARGUMENT...]
expect() {
  local code
  code=$("$1" bash -c 'ask "$@"' ask "${@:3}") || true
  [ "$code" = "$2" ] || fail "$1 gets $code of ${*:3}, not $2"
}
resize=(/v1/maps/slogate_slab/resize --request POST --data '{"entries": 300}')
expect as_nobody 000 /v1/status
expect as_nobody 000 "${resize[@]}"
expect as_member 200 /v1/status
expect as_member 403 "${resize[@]}"
expect as_member 403 /v1/slos/demo/reset --request POST
expect env 200 "${resize[@]}"
# Neither its socket nor its files are theirs to change.
for command in "rm -f $socket" "truncate -s 0 $socket" "cat $work/state/audit.jsonl" "ls $work/state" \
  "cat /proc/$agent_pid/environ" "kill -0 $agent_pid"; do
  # shellcheck disable=SC2086 # words of a command
  ! as_nobody $command >/dev/null 2>&1 || fail "another user can: $command"
done
passed "other users get what their group allows, and no file"

# A container without the mount sees no socket; TCP changes nothing, whoever asks.
# shellcheck disable=SC2016 # for the inner shell
[ "$(unshare --mount bash -c 'mount -t tmpfs none "$(dirname "$socket")" && ask /v1/status' || true)" = 000 ] ||
  fail "the socket is reached from another mount namespace"
for path in "${resize[0]}" /v1/slos/demo/reset; do
  status=$(curl --silent --output /dev/null --write-out '%{http_code}' --request POST --data '{"entries": 300}' \
    "http://127.0.0.1:$api_port$path")
  [[ $status == 40[345] ]] || fail "TCP may $path: $status"
done
passed "another mount namespace does not reach the socket, and TCP changes nothing"

# ---- what is no request ----

# No file is ever served, and nothing of a request comes back but escaped and as JSON.
for port in "$api_port" "$metrics_port"; do
  for path in /../../../etc/passwd /v1/../../etc/passwd /%2e%2e/%2e%2e/etc/passwd //etc/passwd \
    '/metrics/../../../etc/passwd' '/<script>alert(1)</script>' '/v1/verdicts/<b>' '/v1/maps/%00' '/v1/maps/%0d%0aX:y'; do
    curl --silent --include --path-as-is --max-time 5 "http://127.0.0.1:$port$path" >"$work/answer"
    ! grep -q root: "$work/answer" || fail "$path of $port serves a file"
    ! grep -qi '^x:' "$work/answer" || fail "$path of $port makes a header"
    ! grep -qi '^content-type: text/html' "$work/answer" || fail "$path of $port is answered with HTML"
    ! grep '[<]' "$work/answer" | grep -v '^{' >/dev/null || fail "$path of $port comes back: $(cat "$work/answer")"
  done
  # Each is refused, or answered as far as it is HTTP, and the connection ends.
  for garbage in 'GET' '\0\0\0\0' 'GET / HTTP/9.9\r\n\r\n' 'GET http://x/ HTTP/1.1\r\n\r\n' \
    'POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n' \
    'POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' \
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' '\x16\x03\x01\x02\x00\x01\x00'; do
    # shellcheck disable=SC2059,SC2016 # escapes are meant; for the inner shell
    { printf "$garbage"; } | timeout 10 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"; cat >&3; cat <&3' bash "$port" \
      >"$work/answer" 2>/dev/null || [ $? -eq 124 ] || true
    ! grep -aq '^HTTP/1.1 [25]' "$work/answer" || fail "$port takes $garbage: $(head -n 1 "$work/answer")"
  done
  long=$(printf '%020000d' 0)
  status=$(curl --silent --output /dev/null --write-out '%{http_code}' --header "X: $long" "http://127.0.0.1:$port/" || true)
  [ "$status" = 400 ] || fail "20 KB of a header get $status of $port"
done
head -c 1000000 /dev/zero >"$work/large"
[ "$(curl --silent --output /dev/null --write-out '%{http_code}' --header Expect: --data-binary @"$work/large" \
  "http://127.0.0.1:$api_port/flagger/rollback")" = 413 ] || fail "a body of 1 MB is not refused with 413"
passed "what is no request is refused, and no file is served"

# ---- none the worse ----

[ "$(answered gate)" = "20 20" ] || fail "the gate is not answered any more"
curl --silent "http://$metrics/metrics" | grep '^slogate_refused_system_calls_total 0$' >/dev/null ||
  fail "system calls were refused"
stop_agent
passed "the gate is answered as before, and no system call was refused"
