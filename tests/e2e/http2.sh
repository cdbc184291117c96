#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 600
# tests/e2e/http2.sh [CASE...]
#
# Each stream is a request, with its status: real servers of HTTP/2 and gRPC, asked by real clients, which count
# what they saw. The agent's counters of both cgroups must say the same, to the last stream.
# SLOGATE_REQUESTS: how many of each pair (default 5,000; 100,000 in a soak).
set -euo pipefail
# shellcheck source=seen.sh
. "$(dirname "$0")/seen.sh"
need_root
need_cgroup2
for program in curl node; do command -v "$program" >/dev/null || skip "$program is not installed"; done

requests=${SLOGATE_REQUESTS:-5000}
few=$((requests / 10))

# ---- clients: each prints `CODE [NUMBER]` of what it saw ----

# load NAME NUMBER CONNECTIONS STREAMS [OPTION...] PATH...: h2load, which asks for the paths by turns.
load() {
  local words=("${@:5}")
  rm -f "$work/$1.log-file"
  from "$1" h2load --requests "$2" --clients "$3" --max-concurrent-streams "$4" --log-file "$work/$1.log-file" \
    "${words[@]/#\//http://127.0.0.1:$port/}" >"$work/$1.out" 2>&1 || true
  awk '{ print $2 }' "$work/$1.log-file"
  [ "$(wc -l <"$work/$1.log-file")" = "$2" ] || { grep '^requests:' "$work/$1.out" && return 1; }
}
# curl_each NAME NUMBER [CURL ARGUMENT...]: a connection for each, as curl 7.88 fails with its second stream
# where HTTP/2 was not agreed on by TLS.
curl_each() {
  # shellcheck disable=SC2016 # for the inner shell
  from "$1" bash -c 'for ((i = 0; i < $2; i++)); do
      for path in ok ok missing broken busy; do
        curl --silent --show-error --output /dev/null --write-out "%{http_code}\n" "${@:3}" "$1/$path"
      done
    done' curl_each "http://127.0.0.1:$port" $(($2 / 5)) "${@:3}"
}
# ask_node NAME NUMBER STREAMS KIND PATH...: see ask.js.
ask_node() { from "$1" node "$http2/ask.js" "$port" "${@:2}"; }
# Of each gRPC: NAME NUMBER STREAMS KIND METHOD...
ask_grpc_js() { from "$1" node "$work/grpc.js" ask "$port" "${@:2}"; }
ask_grpc_cpp() { from "$1" "$work/grpc_cpp" ask "$port" "${@:2}"; }
ask_grpc_go() {
  local arguments=(-number "$2" -concurrent "$3")
  case $4 in
    upload) arguments+=(-bytes 400000) ;;
    cancel) arguments+=(-cancel 50ms) ;;
  esac
  ask_go "$1" "${arguments[@]}" "${@:5}"
}
# ask_go NAME ARGUMENT...: see grpc.go.
ask_go() { from "$1" "$work/grpc_go" ask -port "$port" "${@:2}"; }

# ---- servers ----

# h2_nginx NAME [DIRECTIVES [LOCATIONS]]
statuses="location /broken { return 500; } location /busy { return 503; } location /limited { return 429; }"
h2_nginx() { locations="$statuses ${3-}" serve_nginx "$1" "${2:-keepalive_requests 100000000;}" http2; }
h2_node() {
  new_port
  serve "$1" node "$http2/serve.js" "$port"
}

# ---- what is compared ----

# took NAME PROTOCOL COMMAND...: its lines are what a client of NAME saw.
took() {
  "${@:3}" >"$work/$1.seen" || fail "$*: $(cat "$work/$1.seen")"
  grep -E '^[0-9]' "$work/$1.seen" | saw "$1" "$2"
}
resets() { cgroup_json "$1" | jq -Sc --arg role "$2" '[.[].counters.streams_reset[$role] // {} | to_entries[] |
  select(.value != 0)] | from_entries'; }
resets_are() { [ "$(resets "$1" "$2")" = "$3" ]; }
# reset_shown CGROUP ROLE JSON: streams that ended by RST_STREAM, by code.
reset_shown() { wait_until 5 resets_are "$@" || fail "$1 as $2: RST_STREAM $(resets "$1" "$2") instead of $3"; }
counter_is() { [ "$(counter "$1" "$2 // 0")" = "$3" ]; }
# counter_shown CGROUP JQ-PATH NUMBER
counter_shown() { wait_until 5 counter_is "$@" || fail "$1: $2 is $(counter "$1" "$2") instead of $3"; }
missed() { counter "$1" '.counters.streams_missed // 0'; }
# Each stream of NAME has a time in one signal of CGROUP, or is counted as missed.
adds_up() { [ $(($(counter "$2" ".signals.$3.count // 0") + $(missed "$2"))) = "$(sum_of "$1" .)" ]; }
# settled CGROUP: no stream is open still, and of none it is doubted what it was.
settled() {
  wait_until 5 counter_is "$1" '.inflight[].requests' 0 ||
    fail "$1: streams in flight when all are over: $(cgroup_json "$1" | jq -c '.[].inflight')"
  counter_is "$1" .counters.streams_missed 0 || fail "$1: $(missed "$1") streams missed without any loss"
  counter_is "$1" .counters.overlapped_requests 0 || fail "$1: taken for something else that is multiplexed"
}
# streams_shown NAME WHAT: every stream was one request, with an answer.
streams_shown() {
  settled "$1"
  settled "$1-client"
  shown "$1" "$2"
}

# uploads_shown NAME WHAT: a receiver whose buffer is full drops segments over loopback as well, and what has
# arrived behind them goes by unseen: each stream has a time or is counted as missed, and its status is known.
uploads_shown() {
  equal "$1"
  equal "$1" "$1-client" client
  wait_until 5 adds_up "$1" "$1" request ||
    fail "$1: $(counter "$1" .signals.request.count) streams and $(missed "$1") missed are not $(sum_of "$1" .)"
  (($(missed "$1") * 20 <= $(sum_of "$1" .))) || fail "$1: $(missed "$1") of $(sum_of "$1" .) streams missed"
  signal_shows "$1-client" client_request "$(sum_of "$1" .)"
  done_with "$1" "$2, $(missed "$1") missed"
}

# ---- HTTP/2 ----

case_nginx() {
  need nginx h2load || return 0
  h2_nginx nginx
  took nginx http2 load nginx "$requests" 4 100 /ok /missing /limited /broken /busy
  streams_shown nginx "nginx and h2load, 4 connections of 100 streams"
  # Another encoder of headers.
  h2_nginx curl
  took curl http2 curl_each curl 100 --http2-prior-knowledge
  streams_shown curl "nginx and curl"
  h2_nginx refused "client_max_body_size 1k; keepalive_requests 100000000;"
  head -c 400000 /dev/zero >"$work/body"
  # nginx takes more of them on one connection for an attack.
  took refused http2 load refused 100 2 10 --data="$work/body" /ok
  uploads_shown refused "nginx: uploads of 400 kB that are refused"
}

case_nghttpd() {
  need nghttpd h2load nghttp || return 0
  local files=$work/nghttpd-files
  mkdir -p "$files"
  say "well" >"$files/ok"
  seq 10000 >"$files/long"
  new_port
  serve nghttpd nghttpd --no-tls --address 127.0.0.1 --htdocs "$files" "$port"
  took nghttpd http2 load nghttpd "$requests" 1 100 /ok /missing
  streams_shown nghttpd "nghttpd and h2load, 1 connection of 100 streams"
  # Frames as seldom seen: padded ones, CONTINUATION, PRIORITY, a table of headers of another size.
  new_port
  serve padded nghttpd --no-tls --padding 100 --header-table-size 256 --encoder-header-table-size 256 \
    --trailer "x-checksum: 1" --address 127.0.0.1 --htdocs "$files" "$port"
  took padded http2 from_nghttp padded 100 --padding=100 --continuation --header-table-size=1024 /ok /missing /long
  took padded http2 from_nghttp padded 100 --no-dep --header-table-size=0 /ok /missing /long
  took padded http2 from_nghttp padded 100 --weight=7 --peer-max-concurrent-streams=5 /ok /missing /long
  streams_shown padded "nghttpd and nghttp: padding, CONTINUATION, PRIORITY, other tables of headers"
}
# from_nghttp NAME TIMES [OPTION...] PATH...
from_nghttp() {
  local words=("${@:3}")
  from "$1" nghttp --null-out --stat --multiply "$2" "${words[@]/#\//http://127.0.0.1:$port/}" |
    awk '$1 ~ /^[0-9]+$/ { print $(NF - 2) }'
}

case_node() {
  need h2load || return 0
  h2_node node
  took node http2 load node "$requests" 2 100 /200 /404 /429 /500 /503
  took node http2 ask_node node "$requests" 100 get /200 /200 /404 /429 /500 /503
  streams_shown node "node with h2load, and with node"
  h2_node bodies
  took bodies http2 ask_node bodies 50 10 slow /big
  took bodies http2 load bodies 50 1 10 --window-bits=12 /big
  took bodies http2 ask_node bodies 100 10 get /interim /trailers /big
  streams_shown bodies "node: slow readers, 103, trailers"
  h2_node pushed
  took pushed http2 ask_node pushed 100 10 push /push /200
  streams_shown pushed "node: what is pushed is nobody's request"
}

# One connection, of which each stream is over before the next begins, or a hundred are open.
case_many() {
  need nginx h2load || return 0
  local streams
  for streams in 1 100; do
    # No file: one at a time nginx would wait for an acknowledgement between headers and body, 40 ms for each.
    h2_nginx "many-$streams" "" "location /at-once { return 200 'well\n'; }"
    took "many-$streams" http2 load "many-$streams" $((2 * requests)) 1 "$streams" /at-once
    streams_shown "many-$streams" "$((2 * requests)) streams on one connection, $streams at a time"
  done
}

# upgrade_all NAME NUMBER: connections that begin as HTTP/1.1.
upgrade_all() {
  # nghttp often ends when the first is answered.
  # shellcheck disable=SC2016 # for the inner shell
  from "$1" bash -c 'for ((i = 0; i < $2; i++)); do
      nghttp --null-out --stat --upgrade "$1/ok" "$1/missing" "$1/missing?again" 2>/dev/null
    done' upgrade_all "http://127.0.0.1:$port" "$2" | awk '$1 ~ /^[0-9]+$/ { print $(NF - 2) }'
}
# h2c by Upgrade, which begins as HTTP/1.1.
case_upgrade() {
  need apache2 nghttp h2load || return 0
  local files=$work/upgrade-files module
  mkdir -p "$files/htdocs"
  say "well" >"$files/htdocs/ok"
  new_port
  {
    for module in mpm_event authz_core alias http2; do
      say "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
    done
    cat <<CONFIG
ServerRoot $files
ServerName here
PidFile $files/pid
Mutex pthread
ErrorLog /dev/null
Listen 127.0.0.1:$port
User www-data
Group www-data
DocumentRoot $files/htdocs
Redirect 500 /broken
Redirect 503 /busy
Protocols h2c http/1.1
AcceptFilter http none
MaxKeepAliveRequests 0
<Directory $files/htdocs>
  Require all granted
</Directory>
CONFIG
  } >"$files/apache.conf"
  serve upgrade apache2 -X -d "$files" -f "$files/apache.conf"
  # The request that asked for the upgrade is the first stream.
  took upgrade http2 upgrade_all upgrade 50
  streams_shown upgrade "Apache and nghttp, h2c by Upgrade"
  serve prior apache2 -X -d "$files" -f "$files/apache.conf"
  took prior http2 curl_each prior 100 --http2-prior-knowledge
  took prior http2 load prior "$few" 1 20 /ok /missing /broken /busy
  streams_shown prior "Apache with curl and h2load, h2c at once"
}

# Both sides of a proxy: streams of clients, and those that it opens itself.
case_proxied() {
  need nginx h2load || return 0
  make_grpc_go || return 0
  local behind
  serve_grpc_go behind
  behind=$port
  h2_nginx front "" "location ~ ^/(answer|late)/ { grpc_pass grpc://127.0.0.1:$behind; }"
  took front grpc ask_grpc_go front "$few" 20 get /answer/0 /answer/5 /answer/13 /late/14
  equal front behind server
  equal front front client
  streams_shown front "nginx's grpc_pass, the same of the server behind it"
}

case_haproxy() {
  need haproxy h2load || return 0
  local behind
  h2_node behind-haproxy
  behind=$port
  new_port
  cat >"$work/haproxy.cfg" <<CONFIG
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 5s
frontend in
  bind 127.0.0.1:$port proto h2
  default_backend out
backend out
  server out 127.0.0.1:$behind proto h2
CONFIG
  serve haproxy haproxy -db -f "$work/haproxy.cfg"
  took haproxy http2 load haproxy "$few" 2 20 /200 /404 /429 /500 /503
  equal haproxy behind-haproxy server
  equal haproxy haproxy client
  streams_shown haproxy "haproxy, the same of the server behind it"
}

# A server that says goodbye after each hundred streams, while more are on their way.
case_goodbye() {
  need nginx || return 0
  make_grpc_go || return 0
  local behind
  serve_grpc_go behind-goodbye
  behind=$port
  h2_nginx goodbye "keepalive_requests 100;" "location / { grpc_pass grpc://127.0.0.1:$behind; }"
  took goodbye grpc ask_grpc_go goodbye "$few" 20 get /answer/0 /answer/13
  equal goodbye behind-goodbye server
  streams_shown goodbye "nginx, GOAWAY after each hundred streams, and grpc-go, which asks again"
}

# ---- gRPC ----

grpc_mix=(/answer/0 /answer/0 /answer/5 /answer/13 /answer/14 /answer/4 /late/2 /late/0)

# grpc_pair SERVER CLIENT: of js, go, cpp.
grpc_pair() {
  local name=grpc-$1-$2
  "make_grpc_$1" && "make_grpc_$2" || return 0
  "serve_grpc_$1" "$name"
  took "$name" grpc "ask_grpc_$2" "$name" "$requests" 100 get "${grpc_mix[@]}"
  streams_shown "$name" "grpc-$1, asked by grpc-$2"
}
case_grpc_js() { grpc_pair js js; }
case_grpc_go() { grpc_pair go go; }
case_grpc_cpp() { grpc_pair cpp cpp; }
case_grpc_mixed() {
  grpc_pair go js
  grpc_pair js cpp
  grpc_pair cpp go
}

case_uploads() {
  local kind
  h2_node uploads-node
  took uploads-node http2 ask_node uploads-node 200 10 upload /upload
  uploads_shown uploads-node "node: uploads of 400 kB"
  for kind in js go cpp; do
    "make_grpc_$kind" || continue
    "serve_grpc_$kind" "uploads-$kind"
    took "uploads-$kind" grpc "ask_grpc_$kind" "uploads-$kind" 200 10 upload /answer/0 /late/13
    uploads_shown "uploads-$kind" "grpc-$kind: uploads of 400 kB"
  done
}

# More at once than are told apart on a connection: their outcomes are known, their times are not.
case_crowded() {
  make_grpc_go || return 0
  serve_grpc_go crowded
  took crowded grpc ask_go crowded -number 2000 -concurrent 500 -sleep 20ms:0.5
  equal crowded
  equal crowded crowded-client client
  wait_until 5 adds_up crowded crowded request || fail "crowded: $(counter crowded .signals.request.count) and $(missed crowded) missed"
  wait_until 5 adds_up crowded crowded-client client_request ||
    fail "crowded-client: $(counter crowded-client .signals.client_request.count) and $(missed crowded-client) missed"
  done_with crowded "grpc-go, 500 streams at once on a connection, $(missed crowded) missed"
}

case_streaming() {
  make_grpc_go || return 0
  serve_grpc_go streaming
  took streaming grpc ask_grpc_go streaming 200 50 get /stream/10
  streams_shown streaming "streams of ten messages"
  # The first message is what was waited for: 20 ms of 200.
  local p99
  p99=$(counter streaming .signals.request.p99)
  awk -v p99="$p99" 'BEGIN { exit !(p99 < 0.1) }' || fail "streaming: p99 is $p99 s to the first of ten messages 20 ms apart"
}

# ---- streams that end otherwise ----

case_cancelled() {
  local kind
  for kind in js go; do
    "make_grpc_$kind" || continue
    "serve_grpc_$kind" "cancelled-$kind"
    took "cancelled-$kind" grpc "ask_grpc_$kind" "cancelled-$kind" 50 10 get /answer/0
    "ask_grpc_$kind" "cancelled-$kind" 100 20 cancel /never/0 >"$work/cancelled.seen"
    [ "$(cat "$work/cancelled.seen")" = "1 100" ] || fail "not cancelled: $(xargs <"$work/cancelled.seen")"
    # Clients that gave up; of what they asked nothing is known, and it takes no request's time.
    counter_shown "cancelled-$kind" .counters.client_gone 100
    counter_shown "cancelled-$kind-client" .counters.unanswered_requests.client 100
    reset_shown "cancelled-$kind" server '{"cancel":100}'
    reset_shown "cancelled-$kind-client" client '{"cancel":100}'
    streams_shown "cancelled-$kind" "calls that grpc-$kind gives up, and such as it does not"
  done
}

case_resets() {
  h2_node resets
  took resets http2 ask_node resets 100 10 get /200
  ask_node resets 300 10 get /reset/2 /reset/7 /reset/8 >"$work/resets.seen"
  counter_shown resets .counters.unanswered_requests.server 300
  counter_shown resets-client .counters.unanswered_requests.client 300
  reset_shown resets server '{"cancel":100,"internal_error":100,"refused_stream":100}'
  reset_shown resets-client client '{"cancel":100,"internal_error":100,"refused_stream":100}'
  equal resets
  equal resets resets-client client
  signal_shows resets request 100
  done_with resets "node: RST_STREAM instead of an answer, by code"
  h2_node cut
  ask_node cut 100 10 get /cut >"$work/cut.seen"
  grep -qx "200 100" "$work/cut.seen" || fail "not cut after headers: $(xargs <"$work/cut.seen")"
  must_show cut http2.server_error 100
  reset_shown cut server '{"internal_error":100}'
  streams_shown cut "node: RST_STREAM in the middle of an answer"
}

# Streams that hang beside such as do not.
case_hanging() {
  make_grpc_go || return 0
  serve_grpc_go hanging
  ask_go hanging -number 20 -concurrent 20 -cancel 4s /never/0 >"$work/hanging.given-up" &
  track "$!"
  local asker=$! role
  took hanging grpc ask_grpc_go hanging "$few" 20 get /answer/0
  for role in server client; do
    wait_until 3 hang_since "$role" || fail "20 hang, but in flight are $(in_flight "$role" | jq -c .)"
  done
  wait "$asker"
  counter_shown hanging .counters.client_gone 20
  streams_shown hanging "20 streams that hang for 4 s, and such as do not"
}
in_flight() {
  local cgroup=hanging
  [ "$1" = server ] || cgroup=hanging-client
  cgroup_json $cgroup | jq --arg role "$1" '.[0].inflight[$role]'
}
hang_since() { in_flight "$1" | jq -e '.requests == 20 and .oldest_seconds >= 1 and .oldest_seconds < 5' >/dev/null; }

# Connections that are older than the agent, whose table of headers it has not seen: statuses that stand for an
# entry of it are unknown, others are not.
case_older() {
  make_grpc_go || return 0
  serve_grpc_go older
  ask_go older -number $((2 * few)) -concurrent 20 -connections 4 -pause "$work/pause" /answer/0 /answer/13 >"$work/older.seen" &
  track "$!"
  local asker=$! cgroup role
  wait_until 20 test -e "$work/pause" || fail "the first half of the calls is not over"
  stop_agent
  start_agent --config "$work/slogate.yaml"
  rm "$work/pause"
  wait "$asker"
  # The first calls on each connection go by before it is known what it speaks, and are not known to be missed.
  for cgroup in older older-client; do
    role=server
    [ $cgroup = older ] || role=client
    wait_until 5 most_are_counted $cgroup $role ||
      fail "$cgroup: of $few calls on connections older than the agent these were counted: $(counted $cgroup $role | xargs)"
    passed "calls on connections older than the agent, $role: $(counted $cgroup $role | xargs) of $few, $(missed $cgroup) missed"
  done
  stop_running
}
# None of a status that it had not: half of them are successes, the others failed.
most_are_counted() {
  counted "$1" "$2" | awk -v all="$few" '{ n += $2 } $1 ~ /success$/ { good += $2 } $1 ~ /error$/ { bad += $2 }
    END { exit n < 0.8 * all || n > all || good > all / 2 || bad > all / 2 }'
}

# ---- times ----

# quantiles_within NAME CGROUP SIGNAL WHAT: those of a signal are those that the client of NAME was told, or saw,
# but for 6 %; by how many they are off.
quantiles_within() {
  local measured
  measured=$(cgroup_json "$2" | jq -r --arg signal "$3" '.[].signals[$signal] | "\(.p50) \(.p90) \(.p99)"')
  awk -v what="$4" -v measured="$measured" '$1 == what {
    split(measured, m)
    for (i = 1; i <= 3; i++) {
      off = 100 * (m[i] / $(i + 1) - 1)
      text = text sprintf(" %.1f", off)
      if (off > 6 || off < -6) bad = 1
    }
    print text
    exit bad
  }' "$work/$1.seen" || fail "$2: $3 has p50, p90, p99 of $measured s; $(cat "$work/$1.seen")"
}
case_quantiles() {
  make_grpc_go || return 0
  local streams name off
  for streams in 1 100; do
    serve_grpc_go "times-$streams"
    name=times-$streams
    took "$name" grpc ask_go "$name" -number $((streams * 20 + 200)) -concurrent "$streams" -sleep 20ms:0.5
    equal "$name"
    off="server $(quantiles_within "$name" "$name" request served), client $(quantiles_within "$name" "$name-client" client_request waited)" || fail "$off"
    passed "grpc-go, service times that are known, $streams at a time: p50, p90, p99 off by % $off"
    stop_running
  done
}

# ---- loss ----

# The script once more, with a loopback of its own that loses packets of the size of Ethernet's.
case_loss() {
  need nft nghttpd h2load || return 0
  local percent
  for percent in 1 3; do
    SLOGATE_LOSS=$percent SLOGATE_LOSS_OUTSIDE=$(readlink /proc/self/ns/net) unshare --net "$0" lossy || fail "with $percent % of the packets lost"
  done
}
lose() {
  [[ -n ${SLOGATE_LOSS_OUTSIDE-} && $SLOGATE_LOSS_OUTSIDE != "$(readlink /proc/self/ns/net)" ]] ||
    fail "packets are dropped in a network namespace of the test's own alone: run the case \"loss\""
  ip link set lo mtu 1500
  ip link set lo up
  nft add table inet slogate
  nft add chain inet slogate in '{ type filter hook input priority 0; }'
  nft add rule inet slogate in numgen random mod 100 "<" "$1" drop
}
# What lies behind a lost packet goes by unseen, too: so many percent at most are missed.
declare -A most_missed=([1]=5 [3]=10)
# seen_under_loss NAME CGROUP SIGNAL
seen_under_loss() {
  local all text
  all=$(sum_of "$1" .)
  wait_until 5 adds_up "$@" || fail "$2: $3 of $(counter "$2" ".signals.$3.count // 0") streams and $(missed "$2") missed are not $all"
  text="$2 with $SLOGATE_LOSS % of the packets lost: $(missed "$2") of $all streams missed"
  (($(missed "$2") * 100 <= all * most_missed[$SLOGATE_LOSS])) || fail "$text"
  passed "$text, $(counted "$2" server | xargs) $(counted "$2" client | xargs)"
}
# lossy_shown NAME
lossy_shown() {
  seen_under_loss "$1" "$1" request
  seen_under_loss "$1" "$1-client" client_request
  # What a server says is read before it can be lost.
  equal "$1"
  no_more_than_seen "$1" "$1-client" || fail "$1: statuses that were not: $(counted "$1-client" client | xargs)"
  stop_running
}
case_lossy() {
  local name=lossy-http2-$SLOGATE_LOSS files=$work/lossy-files
  mkdir -p "$files"
  say "well" >"$files/ok"
  seq 3000 >"$files/long"
  new_port
  serve "$name" nghttpd --no-tls --address 127.0.0.1 --htdocs "$files" "$port"
  took "$name" http2 load "$name" "$requests" 10 20 /ok /missing /long
  lossy_shown "$name"
  make_grpc_go || return 0
  name=lossy-grpc-$SLOGATE_LOSS
  serve_grpc_go "$name"
  took "$name" grpc ask_go "$name" -number "$requests" -concurrent 100 -connections 10 "${grpc_mix[@]}"
  lossy_shown "$name"
}
# no_more_than_seen NAME CGROUP: a client's statuses may be unknown or missed, but are none that it did not get.
no_more_than_seen() {
  join -a 2 -e 0 -o 0,1.2,2.2 <(expected "$1") <(counted "$2" client) |
    awk '$1 !~ /unknown$/ && $3 > $2 { bad = 1 } END { exit bad }'
}

cases=(nginx nghttpd node many upgrade proxied haproxy goodbye grpc_js grpc_go grpc_cpp grpc_mixed
  uploads crowded streaming cancelled resets hanging
  older quantiles)
# With `loss` as well where it is asked for: see docs/method.md.
[ $# -eq 0 ] || cases=("$@")
[ -z "${SLOGATE_LOSS-}" ] || lose "$SLOGATE_LOSS"
say "outcomes: all" >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
why_not=$(api /v1/probes | jq -r '.[] | select(.program == "answer_arrived") |
  if .attached then .reason // "" else .reason // "answer_arrived is not attached" end')
[ -z "$why_not" ] || skip "HTTP/2 is not followed here: $why_not"
# shellcheck disable=SC2034 # for seen.sh
has_arrivals=true
for case in "${cases[@]}"; do "case_$case"; done
stop_agent
