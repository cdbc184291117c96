# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh, and real servers for the tests of what answers say, each in a cgroup of its own.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2034 # for the scripts
clients=$root/tests/e2e/answers
locations= # see serve_nginx
chmod 711 "$work" # databases run as users of their own
postgresql=$(find /usr/lib/postgresql/*/bin -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1 || true)
running=() # what was started since the last stop_running
case=      # which of a script's cases runs

# need PROGRAM...: else leaves the case out.
need() {
  local program
  for program; do
    command -v "$program" >/dev/null || { left_out "$case: $program is not installed" && return 1; }
  done
}

# begin CGROUP COMMAND...
begin() {
  run_in_cgroup "$(make_cgroup "$1")" "${@:2}" >>"$work/$1.log" 2>&1 &
  running+=("$!")
  track "$!"
}
# serve CGROUP COMMAND...: a server, which listens at $port before this returns.
serve() {
  begin "$@"
  wait_until 60 listens_or_ended "$!"
  port_is_taken "$port" || fail "$1 does not listen: $(tail -n 3 "$work/$1.log")"
}
listens_or_ended() { port_is_taken "$port" || is_gone "$1"; }
stop_running() {
  [ ${#running[@]} -eq 0 ] || stop_process "${running[@]}"
  running=()
}
# The starters below choose a port by this.
new_port() { port=$(free_port $((21000 + RANDOM % 8000))); }

# serve_nginx CGROUP DIRECTIVES [LISTEN-OPTION...]: with these directives in its block `http`, and in the
# block `server` those of $locations.
serve_nginx() {
  local files=$work/$1-files command
  new_port
  mkdir -p "$files"
  say "well" >"$files/ok"
  seq 1000 >"$files/long.txt"
  mapfile -t command < <(nginx_in "$files" "sendfile on;
    $2
    server { listen 127.0.0.1:$port ${*:3}; $locations }")
  serve "$1" "${command[@]}"
}
# For TLS: certificates; each server has keys of its own for its tickets.
nginx_tls() {
  make_certificate
  say "ssl_certificate $work/tls.crt; ssl_certificate_key $work/tls.key; ssl_session_cache shared:s:1m;"
}
make_certificate() {
  [ -s "$work/tls.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=here \
    -days 2 -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
}

# serve_redis CGROUP [ARGUMENT...]
serve_redis() {
  mkdir -p "$work/$1-files"
  new_port
  serve "$1" redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$work/$1-files" "${@:2}"
}

# serve_postgresql CGROUP CONNECTIONS [ARGUMENT...]: with a table `once`, whose one row may not come twice, and a
# function that fails with the SQLSTATE it is called with.
serve_postgresql() {
  [ -d "$work/pgdata" ] || make_postgresql_data
  rm -rf "$work/$1-files"
  cp -a "$work/pgdata" "$work/$1-files"
  new_port
  serve "$1" runuser -u postgres -- "$postgresql/postgres" -D "$work/$1-files" -h 127.0.0.1 -p "$port" -k "" -F \
    -c log_min_messages=panic -c max_connections="$2" -c superuser_reserved_connections=0 -c max_wal_senders=0 "${@:3}"
}
make_postgresql_data() {
  mkdir "$work/pgdata"
  chown postgres "$work/pgdata"
  runuser -u postgres -- "$postgresql/initdb" --auth trust --no-sync -D "$work/pgdata" >"$work/pgdata.log" 2>&1 ||
    fail "initdb: $(tail -n 3 "$work/pgdata.log")"
  runuser -u postgres -- "$postgresql/postgres" --single -j -c log_min_messages=panic -D "$work/pgdata" postgres \
    >>"$work/pgdata.log" 2>&1 <<'END'
CREATE TABLE once (a int PRIMARY KEY);

INSERT INTO once VALUES (1);

CREATE ROLE guest LOGIN PASSWORD 'secret';

CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'failed' USING ERRCODE = code; END $$;

END
}
# shellcheck disable=SC2034 # for the scripts
postgresql_client=(env PGSSLMODE=disable PGGSSENCMODE=disable PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres)

# serve_mariadb CGROUP [ARGUMENT...]: with a table `once` as above, and one to be locked.
serve_mariadb() {
  [ -d "$work/mydata" ] || make_mariadb_data
  cp -a "$work/mydata" "$work/$1-files"
  new_port
  serve "$1" mariadbd --no-defaults --user=root --datadir="$work/$1-files" --bind-address=127.0.0.1 --port="$port" \
    --socket="$work/$1.sock" --init-file="$work/init.sql" --secure-file-priv="$work" --skip-name-resolve \
    --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=16M "${@:2}"
}
make_mariadb_data() {
  mariadb-install-db --no-defaults --user=root --datadir="$work/mydata" --auth-root-authentication-method=normal \
    --skip-name-resolve >"$work/mydata.log" 2>&1 || fail "mariadb-install-db: $(tail -n 3 "$work/mydata.log")"
  mkdir -p "$work/mydata/test"
  # A statement for each line.
  cat >"$work/init.sql" <<'END'
CREATE TABLE test.once (a INT PRIMARY KEY);
INSERT INTO test.once VALUES (1);
CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'secret';
CREATE TABLE test.locked (a INT PRIMARY KEY);
INSERT INTO test.locked VALUES (1);
END
}

# ---- clients, from a cgroup of no arm but where one is named ----

# keep_asking_http RATE: over a connection for each 100 requests a second.
keep_asking_http() {
  local left
  for ((left = $1; left > 0; left -= 100)); do
    curl_at "$(make_cgroup load)" "$port" "$((left < 100 ? left : 100))"
    running+=("$!")
    track "$!"
  done
}
# keep_asking CGROUP KIND ARGUMENT...: for an hour at most.
keep_asking() { begin "$1" /usr/bin/python3 "$clients/ask.py" "$2" "$port" 1000000 "${@:3}"; }

# ---- gRPC ----

http2=$root/tests/e2e/http2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slogate
# Each makes the server and the client of one gRPC, or leaves the case out.
make_grpc_js() {
  [ ! -e "$work/grpc.js" ] || return 0
  need npm || return 1
  local packages
  npm_packages "$http2/package.json" || { left_out "$case: npm cannot install grpc-js" && return 1; }
  ln -s "$packages/node_modules" "$work/node_modules"
  cp "$http2/grpc.js" "$work"
}
make_grpc_go() {
  [ ! -e "$work/grpc_go" ] || return 0
  need go || return 1
  local path=/usr/share/gocode # where Debian puts libraries
  [ -d $path/src/google.golang.org/grpc ] || { left_out "$case: golang-google-grpc-dev is not installed" && return 1; }
  GOCACHE=$cache/go GOPATH=$path GO111MODULE=off go build -o "$work/grpc_go" "$http2/grpc.go" ||
    fail "grpc.go does not build"
}
make_grpc_cpp() {
  [ ! -e "$work/grpc_cpp" ] || return 0
  need g++ pkg-config || return 1
  pkg-config --exists grpc++ || { left_out "$case: libgrpc++-dev is not installed" && return 1; }
  # shellcheck disable=SC2046 # words
  g++ -std=c++20 -o "$work/grpc_cpp" "$http2/grpc.cpp" $(pkg-config --cflags --libs grpc++) ||
    fail "grpc.cpp does not build"
}

serve_grpc_js() {
  new_port
  serve "$1" node "$work/grpc.js" serve "$port"
}
serve_grpc_go() {
  new_port
  serve "$1" "$work/grpc_go" serve -port "$port"
}
serve_grpc_cpp() {
  new_port
  serve "$1" "$work/grpc_cpp" serve "$port"
}
