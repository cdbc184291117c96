# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the end-to-end tests: each is a script that sources this, runs the programs as a user would and
# exits with 0 (passed), 77 (can't run here; its last line says why) or anything else (failed). Each of
# its cases is a line by `passed`, `left_out` or `fail`.
# Whatever was started through these functions is stopped when the script ends.
# shellcheck source=../../tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

programs=${SLOGATE_PROGRAMS:-$root/build/release}
work=$(mktemp -d "${TMPDIR:-/tmp}/slogate-e2e.XXXXXX")
cgroup_prefix=/slogate-e2e-$$ # as the agent names it: relative to the cgroup2 root
cgroup_dir=$(cgroup2_root)$cgroup_prefix
processes=()
script_arguments=("$@")
agent_pid=
socket=$work/agent.sock
metrics= # ADDR:PORT once the agent runs

# passed WHAT: one of the cases of this script; tools/test counts these lines. What fails ends the script.
passed() { say "passed: $*, at $SECONDS s"; }
# left_out WHAT: WHY: a case that can't run here, while others can; counted as skipped.
left_out() {
  say "skipped: $*"
  # shellcheck disable=SC2034 # for the caller
  is_left_out=true
}
skip() {
  say "$*"
  exit 77
}
fail() {
  say "FAILED: $*"
  exit 1
}
need_root() { is_root || skip "needs root"; }
need_cgroup2() { [ -n "$(cgroup2_root)" ] || skip "no cgroup2 is mounted here"; }
# A machine without bpffs gets one for this script alone, so that none stays behind: the script then
# starts again, so this comes first.
need_bpffs() {
  [ "$(stat -f -c %T /sys/fs/bpf)" != bpf_fs ] || return 0
  [ -z "${SLOGATE_OWN_BPFFS-}" ] || skip "no bpffs at /sys/fs/bpf, and none can be mounted"
  rm -rf "$work"
  # shellcheck disable=SC2016 # for the inner shell
  SLOGATE_OWN_BPFFS=1 exec unshare --mount sh -c 'mount -t bpf bpf /sys/fs/bpf; exec "$0" "$@"' \
    "$0" "${script_arguments[@]}"
}

# track PID...: to be stopped when the script ends.
track() { processes+=("$@"); }

# start_agent [ARGUMENT...]: with socket, port and state of its own and without pins, unless the
# arguments say otherwise, and under the command in $agent_prefix; returns when it answers.
start_agent() {
  local port
  port=$(free_port $((20000 + RANDOM % 10000)))
  agent_arguments "$work/agent.sock" "127.0.0.1:$port" "$work/state" "$@"
  # shellcheck disable=SC2086 # words
  ${agent_prefix-} "$programs/slogate-agent" "${arguments[@]}" >>"$work/agent.log" 2>&1 &
  agent_pid=$!
  wait_until 20 agent_answers_or_ended || fail "the agent does not answer after 20 s"
  is_running "$agent_pid" || fail "the agent ended: $(tail -n 1 "$work/agent.log")"
}
agent_answers_or_ended() { is_gone "$agent_pid" || api /v1/status >/dev/null 2>&1; }

# stop_agent: fails unless it ends cleanly when asked to.
stop_agent() {
  local status=0
  kill -TERM "$agent_pid"
  wait_until 10 is_gone "$agent_pid" || fail "the agent still runs 10 s after SIGTERM"
  wait "$agent_pid" || status=$?
  agent_pid=
  [ "$status" -eq 0 ] || fail "the agent ended with $status"
}

# api PATH [CURL ARGUMENT...]: the body; fails, and still prints it, when the status is not 2xx.
api() {
  curl --silent --show-error --fail-with-body --max-time 10 --unix-socket "$socket" \
    "http://localhost$1" "${@:2}"
}
slogate() { "$programs/slogate" --socket "$socket" "$@"; }

# npm_packages FILE: sets $packages to a directory with node_modules of what that package.json names, kept
# outside the tree; fails where npm can't install it.
npm_packages() {
  packages=${XDG_CACHE_HOME:-$HOME/.cache}/slogate/npm-$(sha256sum "$1" | cut -c 1-12)
  [ ! -e "$packages/complete" ] || return 0
  mkdir -p "$packages"
  cp "$1" "$packages"
  (cd "$packages" && npm install --no-audit --no-fund --ignore-scripts --loglevel=error >&2) &&
    touch "$packages/complete"
}

# make_cgroup NAME: prints its directory, for run_in_cgroup; the agent calls it $cgroup_prefix/NAME.
make_cgroup() {
  mkdir -p "$cgroup_dir/$1"
  say "$cgroup_dir/$1"
}

# start_arm NAME SERVE ARGUMENT...: a server in a cgroup of that name with 1,000 requests a second,
# or ten times $arm_rate, from another; sets $arm and $driver.
start_arm() {
  local generator=("$programs/slogate-load" --max-seconds 1800) directory ready
  directory=$(make_cgroup "$1")
  ready=$work/${1##*/}.$RANDOM
  : >"$ready"
  run_in_cgroup "$directory" "${generator[@]}" serve --port 0 "${@:2}" >"$ready" 2>&1 &
  arm=$!
  track "$arm"
  wait_until 10 grep -q '^ready ' "$ready" || fail "the $1 server is not ready: $(cat "$ready")"
  run_in_cgroup "$(make_cgroup "load")" "${generator[@]}" drive --host 127.0.0.1 \
    --port "$(awk '/^ready/ { print $2 }' "$ready")" --connections 10 --rate "${arm_rate-100}" \
    --duration 1800s --answer-timeout 30s >/dev/null 2>&1 &
  driver=$!
  track "$driver"
}
stop_arm() { stop_process "$driver" "$arm"; }

# ---- real servers and clients ----

# nginx_in FILES DIRECTIVES: what to run for an nginx with these directives in its block `http`, one
# word a line; all of its own lies in FILES.
nginx_in() {
  mkdir -p "$1"
  cat >"$1/nginx.conf" <<END
daemon off;
master_process off;
pid $1/pid;
error_log stderr crit;
events {}
http {
  access_log off;
  root $1;
  client_body_temp_path $1/1; proxy_temp_path $1/2; fastcgi_temp_path $1/3;
  uwsgi_temp_path $1/4; scgi_temp_path $1/5;
  $2
}
END
  printf '%s\n' nginx -p "$1" -e stderr -c "$1/nginx.conf"
}

# start_nginx NAME [LISTEN OPTION...]: answers everything at once, in the cgroup of that name; sets $port.
start_nginx() {
  local command
  port=$(free_port $((21000 + RANDOM % 8000)))
  mapfile -t command < <(nginx_in "$work/$1" "keepalive_requests 100000000;
    server { listen 127.0.0.1:$port ${*:2}; location / { return 200 \"well\n\"; } }")
  run_in_cgroup "$(make_cgroup "$1")" "${command[@]}" &
  track "$!"
  wait_until 20 port_is_taken "$port" || fail "nginx of $1 does not listen"
}

# curl_at CGROUP-DIR PORT RATE [ARGUMENT...]: so many requests a second over one connection, until the
# script ends; sets $!. curl takes whole numbers of requests, so it is told by the hour.
curl_at() {
  local per_hour
  per_hour=$(awk -v rate="$3" 'BEGIN { printf "%d", rate * 3600 }')
  run_in_cgroup "$1" curl --silent --rate "$per_hour/h" --output /dev/null "${@:4}" \
    "http://127.0.0.1:$2/[1-1000000]" &
}

# A list of service times for --service: lognormal:2:0.5, but the slowest 2 %, those above 5.585 ms,
# take 2.5 times as long.
slow_tail() {
  awk 'BEGIN {
    srand(7)
    for (i = 0; i < 100000; i++) {
      us = 2000 * exp(0.5 * sqrt(-2 * log(1 - rand())) * cos(6.283185307 * rand()))
      printf "%dus\n", (us > 5585 ? 2.5 : 1) * us
    }
  }'
}

# expect_exit STATUS COMMAND...: its output is left in $output.
expect_exit() {
  local expected=$1 status=0
  shift
  output=$("$@" 2>&1) || status=$?
  [ "$status" -eq "$expected" ] || fail "\"$*\" ended with $status instead of $expected: $output"
}

# ---- verdicts ----

# A configuration with the arms canary and stable: SLO demo compares them, SLO bounded asks little of
# the canary alone.
slos_of_arms() {
  cat <<END
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    baseline: { cgroup: "$cgroup_prefix/stable/**" }
    warmup: 0s
  - name: bounded
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    objectives:
      - { signal: request, quantile: 0.99, max: 2s }
    warmup: 0s
END
}
new_rollout() { slogate reset demo >/dev/null && slogate reset bounded >/dev/null; }
# of SLO FIELD: of its verdict.
of() { api "/v1/verdicts/$1" | jq -r ".$2"; }
# is SLO VERDICT
is() { [ "$(of "$1" verdict)" = "$2" ]; }
not_pass() { ! is bounded pass; }
# no_veto_for SECONDS: fails at the first veto of any SLO.
no_veto_for() {
  local begin=$SECONDS found
  while ((SECONDS - begin < $1)); do
    sleep 2
    found=$(api /v1/verdicts | jq -r '.[] | select(.verdict == "veto") | "\(.slo): \(.message)"')
    [ -z "$found" ] || fail "after $((SECONDS - begin)) s: $found"
  done
}
# By age: on a busy machine many requests are open.
hangs() {
  api "/v1/cgroups?match=$cgroup_prefix/$1" |
    jq -e '.[0].inflight.server.oldest_seconds >= 1' >/dev/null
}
# Of the numbers on stdin.
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
now_ms() { date +%s%3N; }
# ms_until SECONDS COMMAND...: sets $took, or fails.
ms_until() {
  local begin deadline
  begin=$(now_ms)
  deadline=$((begin + $1 * 1000))
  shift
  until "$@"; do
    (($(now_ms) < deadline)) || return 1
    sleep 0.05
  done
  # shellcheck disable=SC2034 # for the caller
  took=$(($(now_ms) - begin))
}

cleanup() {
  [ -z "$agent_pid" ] || processes+=("$agent_pid")
  [ ${#processes[@]} -eq 0 ] || stop_process "${processes[@]}"
  remove_cgroup "$cgroup_dir" || say "can't remove $cgroup_dir"
  if grep -s "refused itself" "$work/agent.log"; then exit_status=1; fi
  if [ "$exit_status" -ne 0 ] && [ "$exit_status" -ne 77 ] && [ -f "$work/agent.log" ]; then
    say "the agent's log ends with:"
    tail -n 20 "$work/agent.log"
  fi
  rm -rf "$work"
}
on_exit cleanup
