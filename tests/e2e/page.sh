#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The page of the node in a real Chromium: a canary turns slow while it is looked at.
# SLOGATE_PICTURES: a directory for screenshots.
set -euo pipefail
# ctest: e2e 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2

here=$root/tests/e2e/page
config=$work/slogate.yaml
namespace=slogate-page-$$

# write_config [LINE...]
write_config() {
  cat >"$config" <<END
outcomes: all
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary" }
    baseline: { cgroup: "$cgroup_prefix/stable" }
    warmup: 1s
END
  printf '%s\n' "$@" >>"$config"
}

# status CURL ARGUMENT...: of an answer.
status() { curl --silent --max-time 10 --output "$work/answer" --write-out '%{http_code}' "$@"; }
# expect_status STATUS CURL ARGUMENT...
expect_status() {
  local got
  got=$(status "${@:2}")
  [ "$got" = "$1" ] || fail "curl ${*:2}: $got instead of $1: $(head -c 300 "$work/answer")"
}
# ask_elsewhere [CURL ARGUMENT...]: from a network namespace with an address of its own.
ask_elsewhere() { ip netns exec "$namespace" curl --silent --max-time 10 "$@" "http://198.51.100.1:$port/"; }
reload() {
  local before
  before=$(grep -c "configuration reloaded" "$work/agent.log" || true)
  kill -HUP "$agent_pid"
  reloaded() { [ "$(grep -c "configuration reloaded" "$work/agent.log")" -gt "$before" ]; }
  wait_until 10 reloaded || fail "the configuration is not reloaded"
}

# ---- who gets it ----

port=$(free_port $((20000 + RANDOM % 10000)))
write_config
start_agent --config "$config" --listen "0.0.0.0:$port"
page=http://127.0.0.1:$port/
expect_status 200 "$page"
grep -q '<bdi>' "$work/answer" || fail "no page: $(head -c 300 "$work/answer")"
expect_status 403 --header 'X-Forwarded-For: 198.51.100.9' "$page"
expect_status 403 --header 'Host: evil.example' "$page"
expect_status 403 --header 'Host: evil.example' "${page}live"
expect_status 405 --request POST "$page"
expect_status 400 "$page?sort=colour"
expect_status 200 "http://127.0.0.1:$port/metrics"
passed "the page is for clients on this node, by an address or its own name"

on_exit "ip netns del $namespace 2>/dev/null || true; cleanup"
if ip netns add "$namespace" 2>/dev/null &&
  ip link add "slogp$$" type veth peer name eth0 netns "$namespace"; then
  ip address add 198.51.100.1/24 dev "slogp$$"
  ip link set "slogp$$" up
  ip -n "$namespace" address add 198.51.100.2/24 dev eth0
  ip -n "$namespace" link set eth0 up
  wait_until 10 ask_elsewhere --output /dev/null || fail "nothing answers in another network namespace"
  expect_status 200 "http://198.51.100.1:$port/"
  ask_elsewhere --output "$work/answer"
  grep -q 'page: on' "$work/answer" || fail "another host gets: $(head -c 300 "$work/answer")"
  write_config "page: on"
  reload
  ask_elsewhere --output "$work/answer"
  grep -q 'id="rows"' "$work/answer" || fail "page: on refuses another host: $(head -c 300 "$work/answer")"
  ! grep -q 'id="event-list"' "$work/answer" || fail "another host sees events without api_listen"
  passed "another host gets it with page: on, without what the API guards"
else
  left_out "another host: network namespaces cannot be made here"
fi
write_config "page: off"
reload
expect_status 404 "$page"
passed "page: off is as if there were none"
stop_agent

# ---- in a browser ----

# What is missing for that, "" for nothing. The packages come with the first run.
lacks_browser() {
  local program
  for program in npm node "${CHROMIUM:-chromium}"; do
    command -v "$program" >/dev/null || { say "$program is not installed: tools/deps test" && return; }
  done
  npm_packages "$here/package.json" || say "npm cannot install what drives the browser"
}
missing=$(lacks_browser)
if [ -n "$missing" ]; then
  left_out "in a browser: $missing"
  exit
fi
npm_packages "$here/package.json"
ln -s "$packages/node_modules" "$work/node_modules"
cp "$here/look.mjs" "$here/package.json" "$work"

write_config
start_agent --config "$config" --listen "127.0.0.1:$port"
start_arm stable --service lognormal:2:0.5
# Long enough for the baseline to be known, and for the page to be open before the canary turns.
sleep "${SLOGATE_BASELINE_SECONDS-15}"
start_arm canary --service lognormal:2:0.5 --slow-after "${SLOGATE_SLOW_AFTER-15}:3"
arguments=()
if [ -n "${SLOGATE_PICTURES-}" ]; then
  mkdir -p "$SLOGATE_PICTURES"
  arguments=(--pictures "$(realpath "$SLOGATE_PICTURES")")
fi
(cd "$work" && node look.mjs "$page" "${arguments[@]}") || fail "the page is not as it should be"
stop_agent
