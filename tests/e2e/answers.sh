#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 400
# tests/e2e/answers.sh [CASE...]
#
# What answers say, of real servers: each in a cgroup of its own, asked by a real client in another, which
# counts what it saw. The agent's counters of both cgroups must say the same, to the last answer.
# SLOGATE_REQUESTS: how many of each server (default 1,000; 10,000 in a soak).
set -euo pipefail
# shellcheck source=seen.sh
. "$(dirname "$0")/seen.sh"
need_root
need_cgroup2
for program in curl python3; do command -v "$program" >/dev/null || skip "$program is not installed"; done

requests=${SLOGATE_REQUESTS:-1000}

# ---- clients ----

# cycle: the lines on stdin again and again, until there are $requests.
cycle() { awk -v n="$requests" '{ line[NR] = $0 } END { for (i = 0; i < n; i++) print line[i % NR + 1] }'; }
ask() { from "$1" /usr/bin/python3 "$clients/ask.py" "$2" "$port" "$requests" "${@:3}"; }

locations="location /broken { return 500; } location /busy { return 503; }"

# ask_http NAME [CURL ARGUMENT...]: the mix of outcomes that every server of HTTP here knows; what curl saw.
ask_http() {
  from "$1" curl --silent --show-error --max-time 300 --output /dev/null --write-out '%{http_code}\n' "${@:2}" \
    "http://127.0.0.1:$port/{ok,ok,missing,broken,busy}?[1-$((requests / 5))]"
}
http_shown() {
  ask_http "$1" "${@:3}" >"$work/$1.seen"
  saw "$1" http <"$work/$1.seen"
  shown "$1" "$2"
}

# ---- HTTP ----

case_nginx() {
  need nginx || return 0
  serve_nginx nginx ""
  http_shown nginx "nginx, files and errors"
  serve_nginx short ""
  http_shown short "nginx, a connection for each request" --header "Connection: close"
  serve_nginx gzip "gzip on; gzip_types text/plain; types { text/plain txt; }"
  from gzip curl --silent --show-error --compressed --output /dev/null --write-out '%{http_code}\n' \
    "http://127.0.0.1:$port/{long,long,nothing}.txt?[1-$((requests / 3))]" >"$work/gzip.seen"
  saw gzip http <"$work/gzip.seen"
  shown gzip "nginx, gzip"
}

# Bodies that are refused before they are there: curl stops when it reads that.
case_upload() {
  need nginx || return 0
  serve_nginx upload "client_max_body_size 1k;"
  head -c 400000 /dev/zero >"$work/body"
  # A connection for each, as nginx ends it.
  # shellcheck disable=SC2016 # for the inner shell
  from upload bash -c 'for ((i = 0; i < $1; i++)); do curl --silent --output /dev/null --write-out "%{http_code}\n" \
      --data-binary "@$2" --header Expect: "$3" || true; done' \
    upload $((requests / 10)) "$work/body" "http://127.0.0.1:$port/ok" >"$work/upload.seen"
  saw upload http <"$work/upload.seen"
  equal upload
  wait_until 5 nothing_is_owed upload || fail "uploads that were refused are owed an answer: $(owed upload)"
  shown upload "nginx, uploads that are refused"
}
owed() {
  say "server $(counter "$1" '.counters.unanswered_requests.server'), its client gone" \
    "$(counter "$1" .counters.client_gone); client $(counter "$1-client" .counters.unanswered_requests.client)"
}
# What curl sent after its kernel had acknowledged the answer, and before it read that, looks like a request
# that it gives up: 0 or 1 of 100, 6 beside other work, and 41 where rests of uploads are not known.
nothing_is_owed() { [[ $(owed "$1") =~ ^"server 0, its client gone "([0-9]|1[0-5])"; client 0"$ ]]; }

case_proxied() {
  need nginx || return 0
  local behind
  serve_nginx behind ""
  behind=$port
  locations="location / { proxy_pass http://127.0.0.1:$behind; }" serve_nginx front ""
  ask_http front >"$work/front.seen"
  saw front http <"$work/front.seen"
  equal front behind server
  ! $has_arrivals || equal front front client
  shown front "nginx, proxied, the same of the server behind it"
}

case_fastcgi() {
  need nginx php-cgi || return 0
  local behind
  new_port
  behind=$port
  PHP_FCGI_MAX_REQUESTS=0 serve behind-cgi php-cgi -b "127.0.0.1:$behind"
  locations="location / { fastcgi_pass 127.0.0.1:$behind; fastcgi_param REQUEST_METHOD \$request_method;
    fastcgi_param REQUEST_URI \$request_uri; fastcgi_param SCRIPT_FILENAME $clients/answer.php; }" serve_nginx fastcgi ""
  http_shown fastcgi "nginx, FastCGI"
}

case_haproxy() {
  need nginx haproxy || return 0
  local behind
  serve_nginx behind-haproxy ""
  behind=$port
  new_port
  cat >"$work/haproxy.cfg" <<END
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 5s
frontend in
  bind 127.0.0.1:$port
  http-request return status 503 if { path /busy }
  default_backend out
backend out
  server out 127.0.0.1:$behind
END
  serve haproxy haproxy -db -f "$work/haproxy.cfg"
  http_shown haproxy "haproxy, passed on and of its own"
}

case_apache() {
  need apache2 || return 0
  local files=$work/apache-files module
  mkdir -p "$files/htdocs"
  say "well" >"$files/htdocs/ok"
  new_port
  {
    for module in mpm_event authz_core alias; do
      say "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
    done
    cat <<END
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
MaxKeepAliveRequests 0
<Directory $files/htdocs>
  Require all granted
</Directory>
END
  } >"$files/apache.conf"
  serve apache apache2 -X -d "$files" -f "$files/apache.conf"
  http_shown apache "Apache"
}

case_python() {
  new_port
  serve python python3 "$clients/answer.py" "$port"
  http_shown python "Python's http.server"
  new_port
  serve interim python3 "$clients/answer.py" "$port"
  ask interim interim >"$work/interim.seen"
  grep -q "^interim $requests\$" "$work/interim.seen" || fail "no interim answers: $(cat "$work/interim.seen")"
  grep -v '^interim ' "$work/interim.seen" | saw interim http
  shown interim "interim answers, Python's http.server"
}

case_node() {
  need node || return 0
  new_port
  serve node node "$clients/answer.js" "$port"
  http_shown node "node"
  new_port
  serve upgraded node "$clients/answer.js" "$port"
  ask upgraded upgrade >"$work/upgraded.seen"
  saw upgraded http < <(grep -v echo "$work/upgraded.seen")
  must_show upgraded unknown.unknown "$(awk '/echo/ { print $2 }' "$work/upgraded.seen")"
  shown upgraded "101, and what follows it, node"
}

case_java() {
  need java || return 0
  new_port
  serve java java -Xmx64m -XX:+UseSerialGC -Dsun.net.httpserver.nodelay=true "$clients/Answer.java" "$port"
  http_shown java "Java's HttpServer"
}

case_go() {
  need go || return 0
  GOCACHE=$work/go GO111MODULE=off go build -o "$work/answer" "$clients/answer.go" || fail "go does not build"
  new_port
  serve go "$work/answer" "$port"
  http_shown go "Go's net/http"
}

# ---- Redis ----

# ask_redis NAME [ARGUMENT...]: the commands on stdin, so often that it makes all requests; the codes it saw.
# `ERR` is the client's fault where the text says so.
ask_redis() {
  cycle >"$work/$1.commands"
  from "$1" redis-cli --no-raw -p "$port" "${@:2}" <"$work/$1.commands" |
    awk '/^\(error\) ERR (syntax error|unknown command|wrong number of arguments)/ { print "client"; next }
      /^\(error\) / { print $2; next } /^\(nil\)/ { print "nil"; next } NF { print "OK" }'
}

case_redis() {
  need redis-server redis-cli redis-benchmark || return 0
  local commands="SET key value
GET key
GET nothing
LPUSH key x
NONSENSE
GET
SET key value NONSENSE
EVAL \"return redis.error_reply('BUSY no')\" 0
EVAL \"return redis.error_reply('ERR of mine')\" 0
INCR number"
  # Each redis-cli first asks for COMMAND DOCS, for its help.
  serve_redis redis
  ask_redis redis <<<"$commands" | saw redis redis
  must_show redis redis.success 1
  shown redis "redis"
  serve_redis resp3
  ask_redis resp3 -3 <<<"$commands" | saw resp3 redis
  must_show resp3 redis.success 2 # HELLO is the other one
  shown resp3 "redis, RESP3"

  serve_redis full --maxmemory 1 --maxmemory-policy noeviction
  ask_redis full <<<"SET key value
GET key" | saw full redis
  must_show full redis.success 1
  shown full "redis, out of memory"
  serve_redis locked --requirepass secret
  ask_redis locked <<<"GET key" | saw locked redis
  must_show locked redis.client_error 2 # not even COMMAND, when there is no COMMAND DOCS
  shown locked "redis, not logged in"
}

case_pipelined() {
  need redis-server redis-benchmark || return 0
  serve_redis pipelined
  ask pipelined redis_pipelined >"$work/pipelined.seen"
  # NONSENSE and GET without a key are the client's.
  awk '$1 == "ERR" { $1 = "client" } 1' "$work/pipelined.seen" | saw pipelined redis
  equal pipelined
  ! $has_arrivals || equal pipelined pipelined-client client
  signal_shows pipelined request $((requests / 16))
  done_with pipelined "redis, 16 commands at once"
  serve_redis bench
  local whole=$((requests / 64 * 64)) # in bursts of 16 on four connections
  from bench redis-benchmark -p "$port" -q -n "$whole" -c 4 -P 16 GET nothing >"$work/bench.seen"
  must_show bench redis.miss "$whole"
  must_show bench redis.success 1 # it asks for two settings first, at once: arrays, of which the first counts
  equal bench
  done_with bench "redis-benchmark -P 16"
}

# A node of a cluster, half of whose slots are another's.
case_cluster() {
  need redis-server redis-cli || return 0
  local own other bus
  own=$(printf 'a%.0s' {1..40}) other=$(printf 'b%.0s' {1..40})
  new_port
  bus=$(free_port $((port + 1))) # 10,000 more, as redis has it, may be a client's
  mkdir -p "$work/cluster-files"
  cat >"$work/cluster-files/nodes.conf" <<END
$own 127.0.0.1:$port@$bus myself,master - 0 0 1 connected 0-8191
$other 127.0.0.1:9@19 master - 0 0 2 connected 8192-16383
vars currentEpoch 2 lastVoteEpoch 0
END
  serve cluster redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$work/cluster-files" \
    --cluster-enabled yes --cluster-port "$bus" --cluster-config-file nodes.conf --cluster-node-timeout 600000
  cluster_is_ok() {
    local state
    state=$(from cluster redis-cli -p "$port" CLUSTER INFO | tr -d '\r' | sed -n 's/^cluster_state://p')
    must_show cluster redis.success 1 # with arguments it asks for no help
    [ "$state" = ok ]
  }
  wait_until 20 cluster_is_ok || fail "the cluster is not ready"
  # foo's slot is 12182, bar's 5061.
  ask_redis cluster <<<"GET foo
SET bar value
GET bar" | saw cluster redis
  must_show cluster redis.success 1
  shown cluster "redis of a cluster"
}

# ---- PostgreSQL ----

case_postgresql() {
  [ -n "$postgresql" ] || { left_out "postgresql: not installed" && return 0; }
  local queries="SELECT 1;
SELECT 1 / 0;
SELECT * FROM nowhere;
INSERT INTO once VALUES (1);
SELECT generate_series(1, 3);
SELECT fail('40001');
SELECT fail('53200');
SELECT fail('57014');
SELECT fail('P0001');
SELECT repeat('x', 100000);"
  serve_postgresql simple 20
  say '\set VERBOSITY sqlstate' >"$work/simple.sql"
  cycle <<<"$queries" >>"$work/simple.sql"
  from simple "${postgresql_client[@]}" PGPORT="$port" psql -X -q -f "$work/simple.sql" >/dev/null 2>"$work/simple.seen" ||
    fail "psql: $(tail -n 1 "$work/simple.seen")"
  sed -n 's/.*ERROR:  \(.....\)$/\1/p' "$work/simple.seen" >"$work/simple.failed"
  {
    cat "$work/simple.failed"
    say "00000 $((requests - $(wc -l <"$work/simple.failed")))"
    say "login 1"
  } | saw simple postgresql
  logins simple 1
  shown simple "PostgreSQL, simple protocol, psql"

  serve_postgresql extended 20
  ask extended postgresql >"$work/extended.seen"
  saw extended postgresql <"$work/extended.seen"
  logins extended 1
  shown extended "PostgreSQL, extended protocol, psycopg"

  say "SELECT 1;" >"$work/good.sql"
  say "SELECT fail('40001');" >"$work/bad.sql"
  local mode prepared failed
  for mode in simple extended prepared; do
    serve_postgresql "bench-$mode" 20
    from "bench-$mode" "${postgresql_client[@]}" PGPORT="$port" pgbench -n -c 4 -t $((requests / 4)) -M "$mode" \
      --failures-detailed -f "$work/good.sql@4" -f "$work/bad.sql@1" >"$work/bench-$mode.seen" 2>&1 ||
      fail "pgbench: $(tail -n 3 "$work/bench-$mode.seen")"
    failed=$(awk '/^number of serialization failures:/ && !found { print $5; found = 1 }' "$work/bench-$mode.seen")
    # pgbench logs in once more to look around, and each connection prepares both statements.
    prepared=0
    [ "$mode" != prepared ] || prepared=8
    printf '%s\n' "login 5" "40001 $failed" "00000 $((requests / 4 * 4 - failed + prepared))" | saw "bench-$mode" postgresql
    logins "bench-$mode" 5
    shown "bench-$mode" "PostgreSQL, pgbench -M $mode"
  done

  say "host all all 127.0.0.1/32 scram-sha-256" >"$work/hba.conf"
  chmod 644 "$work/hba.conf"
  serve_postgresql login 20 -c hba_file="$work/hba.conf"
  ask login postgresql_login >"$work/login.seen"
  saw login postgresql <"$work/login.seen"
  all_logins login
  shown login "PostgreSQL, passwords right and wrong"

  serve_postgresql exhausted 5
  ask exhausted postgresql_full 5 >"$work/exhausted.seen"
  saw exhausted postgresql <"$work/exhausted.seen"
  all_logins exhausted
  shown exhausted "PostgreSQL, max_connections exhausted"
}

# ---- MySQL ----

case_mariadb() {
  need mariadbd mariadb || return 0
  serve_mariadb mysql
  ask mysql mysql >"$work/mysql.seen"
  saw mysql mysql <"$work/mysql.seen"
  logins mysql 2
  shown mysql "MariaDB, PyMySQL"

  serve_mariadb batch
  cycle >"$work/batch.sql" <<<"SELECT 1;
SELECT * FROM nowhere;
INSERT INTO once VALUES (1);
SELECT a FROM once;
SELECT 1 INTO OUTFILE '/nowhere/file';"
  from batch mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root --batch --force test <"$work/batch.sql" \
    2>&1 >/dev/null | sed -n 's/^ERROR \([0-9]*\) .*/\1/p' >"$work/batch.failed" || true
  {
    cat "$work/batch.failed"
    say "0 $((requests - $(wc -l <"$work/batch.failed") + 1))"
  } | saw batch mysql
  logins batch 1
  shown batch "MariaDB, its own client"

  if command -v php >/dev/null && php -m | grep mysqli >/dev/null; then
    serve_mariadb binary
    from binary php "$clients/mysqli.php" "$port" "$requests" >"$work/binary.seen"
    { cat "$work/binary.seen" && say "0 1"; } | saw binary mysql
    logins binary 1
    shown binary "MariaDB, prepared statements, mysqli"
  else
    left_out "MariaDB, prepared statements, mysqli: not installed"
  fi

  serve_mariadb mylogin
  ask mylogin mysql_login >"$work/mylogin.seen"
  saw mylogin mysql <"$work/mylogin.seen"
  all_logins mylogin
  shown mylogin "MariaDB, passwords right and wrong"

  serve_mariadb refusing --max-connections=10
  ask refusing mysql_full 11 >"$work/refusing.seen" # one more is left to administrators
  saw refusing mysql <"$work/refusing.seen"
  # What nobody asked for took no time, and the others were logins.
  equal refusing
  ! $has_arrivals || equal refusing refusing-client client
  signal_shows refusing request 0
  done_with refusing "MariaDB, too many connections"
}

# ---- memcached ----

case_memcached() {
  need memcached || return 0
  new_port
  serve memcached memcached -u root -l 127.0.0.1 -p "$port" -U 0 -I 2k -o slab_chunk_max=1024
  ask memcached memcached >"$work/memcached.seen"
  saw memcached memcached <"$work/memcached.seen"
  shown memcached "memcached"
}

# ---- TLS ----

# handshakes_are NAME ROLE FILE: as a client saw them.
handshakes_are() {
  local expected
  expected=$(awk '$1 != "data" { print $1, $2 }' "$3" | sort)
  [ "$(cgroup_json "$1" | jq -r --arg role "$2" '.[].counters.tls_handshakes[$role] | to_entries[] |
    select(.value != 0) | "\(.key) \(.value)"' | sort)" = "$expected" ]
}
# Of each connection's data TLS 1.3 may look like one more answer.
tls_shown() {
  local data most requests_seen
  data=$(awk '$1 == "data" { print $2 }' "$work/$1.seen")
  data=${data:-0}
  most=$data
  [[ $2 != *1.3* ]] || most=$((2 * data))
  wait_until 5 handshakes_are "$1" server "$work/$1.seen" ||
    fail "$1: not $(xargs <"$work/$1.seen"), but $(counter "$1" .counters.tls_handshakes.server)"
  ! $has_arrivals || wait_until 5 handshakes_are "$1-client" client "$work/$1.seen" ||
    fail "$1-client: not $(xargs <"$work/$1.seen"), but $(counter "$1-client" .counters.tls_handshakes.client)"
  requests_seen=$(counter "$1" .counters.answers.server.tls.unknown)
  ((requests_seen >= data && requests_seen <= most)) || fail "$1: $requests_seen answers in TLS instead of $data to $most"
  passed "$2: $(xargs <"$work/$1.seen"); answers counted: $(counted "$1" server | xargs)"
  stop_running
}

serve_tls() {
  case $2 in
    nginx) serve_nginx "$1" "$(nginx_tls) ssl_protocols TLSv$3;" ssl ;;
    openssl)
      make_certificate
      new_port
      serve "$1" openssl s_server -quiet -accept "127.0.0.1:$port" -cert "$work/tls.crt" -key "$work/tls.key" \
        -www "-tls${3/./_}"
      ;;
  esac
}

case_tls() {
  need openssl nginx || return 0
  local server version kind name
  local -A other=([1.2]=1.3 [1.3]=1.2)
  for server in nginx openssl; do
    for version in 1.2 1.3; do
      for kind in full resumed failed; do
        name=tls-$server-${version/./}-$kind
        if [ "$kind" = failed ]; then
          serve_tls "$name" "$server" "${other[$version]}"
        else
          serve_tls "$name" "$server" "$version"
        fi
        ask "$name" tls "$version" "$kind" >"$work/$name.seen"
        tls_shown "$name" "$server, TLS $version, $kind"
      done
    done
  done
  for kind in new reuse; do
    name=tls-time-$kind
    serve_tls "$name" openssl 1.2
    from "$name" openssl s_time -connect "127.0.0.1:$port" -www /ok "-$kind" -time 2 -tls1_2 >"$work/$name.out" 2>&1 ||
      fail "s_time: $(tail -n 1 "$work/$name.out")"
    # A `*` or an `r` for each connection; -reuse takes its session from one more.
    awk -v first="$kind" '/^[*r]+$/ { full += gsub(/[*]/, ""); resumed += gsub(/r/, "") }
      END { full += first == "reuse"; print "full", full; if (resumed) print "resumed", resumed; print "data", full + resumed }' \
      "$work/$name.out" >"$work/$name.seen"
    tls_shown "$name" "openssl s_time -$kind, TLS 1.2"
  done
  # A kept connection: one handshake, and then an answer for each request.
  serve_tls tls-kept nginx 1.2
  from tls-kept curl --silent --insecure --output /dev/null --write-out 'data\n' \
    "https://127.0.0.1:$port/{ok,busy}?[1-$((requests / 5))]" | sort | uniq -c | awk '{ print $2, $1 }' >"$work/tls-kept.seen"
  say "full 1" >>"$work/tls-kept.seen"
  tls_shown tls-kept "nginx, TLS 1.2, kept"
}

# ---- whose answers are read ----

# started_with OUTCOMES: another agent, with an SLO about the cgroup `judged`.
started_with() {
  cat >"$work/slogate.yaml" <<END
outcomes: $1
slos:
  - name: judged
    canary: { cgroup: "$cgroup_prefix/judged" }
    objectives: [{ signal: request, quantile: 0.9, max: 1s }]
    warmup: 0s
END
  start_agent --config "$work/slogate.yaml"
}
answers_of() { counted "$1" server | awk '{ n += $2 } END { print n + 0 }'; }
requests_of() { counter "$1" ".signals.request.count // 0"; }
asked() { from "$1" curl --silent --show-error --output /dev/null "http://127.0.0.1:${at[$1]}/ok?[1-$2]"; }
is_read() { asked judged 1 && tries=$((tries + 1)) && [ "$(answers_of judged)" -gt 0 ]; }
answers_are() { [ "$(answers_of "$1")" = "$2" ]; }
requests_are() { [ "$(requests_of "$1")" = "$2" ]; }

case_chosen() {
  need nginx || return 0
  local name before tries=0
  local -A at
  for name in judged other; do
    serve_nginx "$name" ""
    at[$name]=$port
  done
  stop_agent
  started_with slos
  asked other 1
  # Its slot is chosen with the tick after its first connection.
  wait_until 10 is_read || fail "the answers of an SLO's cgroup are not read"
  wait_until 5 requests_are judged "$tries" || fail "of $tries requests $(requests_of judged) were counted"
  before=$(answers_of judged)
  asked judged 50
  asked other 50
  wait_until 5 answers_are judged $((before + 50)) || fail "of 50 answers $(($(answers_of judged) - before)) were counted"
  wait_until 5 requests_are other 51 || fail "of 51 requests $(requests_of other) were counted"
  [ "$(answers_of other)" = 0 ] || fail "answers are read of a cgroup without an SLO: $(counted other server)"
  passed "outcomes: slos: those of an SLO's cgroup are read, to the last one, and of no other"

  stop_agent
  started_with off
  for name in judged other; do asked "$name" 50; done
  for name in judged other; do
    wait_until 5 requests_are "$name" 50 || fail "of 50 requests $(requests_of "$name") were counted"
    [ "$(answers_of "$name")" = 0 ] || fail "answers are read: $(counted "$name" server)"
  done
  passed "outcomes: off: requests are measured, no answer is read"
  stop_running
}

cases=(nginx upload proxied fastcgi haproxy apache python node java go redis pipelined cluster postgresql mariadb memcached tls chosen)
[ $# -eq 0 ] || cases=("$@")
say "outcomes: all" >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
has_arrivals=$(api /v1/probes | jq 'any(.[]; .program == "answer_arrived" and .attached)')
"$has_arrivals" || left_out "what clients see: answer_arrived is not attached"
for case in "${cases[@]}"; do "case_$case"; done
stop_agent
