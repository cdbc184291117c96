# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests of what answers say: what real clients saw, held against what the agent counted of the cgroups of
# server and client, to the last answer.
# shellcheck source=servers.sh
. "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
has_arrivals=false # whether the agent sees what arrives at clients

# from NAME COMMAND...: a client's, in the cgroup NAME-client.
from() { run_in_cgroup "$(make_cgroup "$1-client")" "${@:2}"; }

# outcome_of PROTOCOL CODE: the table of docs/method.md, written anew.
outcome_of() {
  case $1.$2 in
    http.[123]?? | http2.[123]??) say success ;;
    http.4?? | http2.4??) say client_error ;;
    http.5?? | http2.5??) say server_error ;;
    grpc.0) say success ;;
    grpc.2 | grpc.4 | grpc.12 | grpc.13 | grpc.14 | grpc.15) say server_error ;;
    grpc.*) say client_error ;;
    redis.OK | postgresql.N | postgresql.login | postgresql.00000 | mysql.0) say success ;;
    redis.nil | memcached.END | memcached.EN) say miss ;;
    redis.MOVED | redis.ASK) say redirect ;;
    redis.WRONGTYPE | redis.NOAUTH | redis.NOPERM | redis.client) say client_error ;;
    redis.*) say server_error ;;
    postgresql.08* | postgresql.53* | postgresql.57* | postgresql.58* | postgresql.XX*) say server_error ;;
    postgresql.*) say client_error ;;
    mysql.1040 | mysql.1203 | mysql.1290) say server_error ;;
    mysql.*) say client_error ;;
    memcached.CLIENT_ERROR) say client_error ;;
    memcached.ERROR | memcached.SERVER_ERROR) say server_error ;;
    memcached.*) say success ;;
    *) say unknown ;;
  esac
}

# saw NAME PROTOCOL: on stdin lines CODE [NUMBER] of a client of NAME; adds them to what NAME must show.
saw() {
  local code number
  awk '{ n[$1] += NF > 1 ? $2 : 1 } END { for (code in n) print code, n[code] }' |
    while read -r code number; do say "$2.$(outcome_of "$2" "$code") $number"; done >>"$work/$1.expected"
}
# must_show NAME ROW NUMBER: besides.
must_show() { say "$2 $3" >>"$work/$1.expected"; }
expected() { awk '{ n[$1] += $2 } END { for (row in n) if (n[row]) print row, n[row] }' "$work/$1.expected" | sort; }

cgroup_json() { api "/v1/cgroups?match=$cgroup_prefix/$1"; }
# counted NAME ROLE: rows of the answers of a cgroup that are not 0.
counted() {
  cgroup_json "$1" | jq -r --arg role "$2" '.[].counters.answers[$role] // {} | to_entries[] | .key as $protocol |
    .value | to_entries[] | select(.value != 0) | "\($protocol).\(.key) \(.value)"' | sort
}
# counter NAME JQ-PATH
counter() { cgroup_json "$1" | jq "[.[]$2] | add // 0"; }
is_counted() { [ "$(counted "$2" "$3")" = "$(expected "$1")" ]; }
# equal NAME [CGROUP ROLE]: the rows of that cgroup, else of NAME as a server, are what was seen of NAME.
equal() {
  local cgroup=${2-$1} role=${3-server}
  wait_until 5 is_counted "$1" "$cgroup" "$role" || {
    diff <(expected "$1") <(counted "$cgroup" "$role") || true
    fail "$cgroup as $role: not (<) what its client saw, but (>) what was counted; $(cgroup_json "$cgroup" |
      jq -c '.[] | {signals: (.signals | map_values(.count)), unanswered_requests: .counters.unanswered_requests, client_gone: .counters.client_gone}')"
  }
}
signal_is() { [ "$(counter "$1" ".signals.$2.count // 0")" = "$3" ]; }
# signal_shows NAME SIGNAL COUNT
signal_shows() {
  wait_until 5 signal_is "$@" || fail "$1: $2 has $(counter "$1" ".signals.$2.count // 0") samples instead of $3"
}
# logins NAME NUMBER: so many of the successes of NAME are steps of logins, which take no request's time.
logins() { say "success $2" >>"$work/$1.logins"; }
# all_logins NAME: all that NAME must show.
all_logins() { expected "$1" >>"$work/$1.logins"; }
# timed NAME ROW: how many answers of these rows are a request's.
timed() {
  touch "$work/$1.logins"
  say $(($(sum_of "$1" "$2") - $(awk -v row="$2" '$1 ~ row { n += $2 } END { print n + 0 }' "$work/$1.logins")))
}
sum_of() { expected "$1" | awk -v row="$2" '$1 ~ row { n += $2 } END { print n + 0 }'; }
# shown NAME WHAT: closes a case whose every answer, but for logins, was a request of its own.
shown() {
  equal "$1"
  ! $has_arrivals || equal "$1" "$1-client" client
  signal_shows "$1" request "$(timed "$1" .)"
  signal_shows "$1" failed_request "$(timed "$1" server_error)"
  [ "$(counter "$1" .counters.unanswered_requests.server)" = 0 ] || fail "$1 left requests unanswered: $(cgroup_json "$1" | jq -c ".[] | {connections: .counters.connections.server, unanswered: .counters.unanswered_requests.server, client_gone: .counters.client_gone}")"
  done_with "$@"
}
done_with() {
  passed "$2: $(expected "$1" | awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }')"
  stop_running
}
