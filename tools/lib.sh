# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the commands of the repository have in common. Sourced, never run.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
usage_error() {
  printf '%s\n' "$@" >&2
  exit 64
}
# The comment that opens a command is its help.
help_text() { awk 'NR > 2 && !/^#/ { exit } NR > 2 { sub(/^# ?/, ""); print }' "$0"; }
case ${1-} in
  -h | --help)
    help_text
    exit
    ;;
esac
project_version() { sed -n 's/^project(slogate VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt"; }

# The machine a program is for, as Debian names its folders of libraries, and Debian's name of that architecture.
machine_of() {
  case $(od -An -j 18 -N 1 -t u1 "$1" | tr -d ' ') in
    62) say x86_64 ;;
    183) say aarch64 ;;
    *) die "$1 is of no architecture that is known here" ;;
  esac
}
architecture_of() {
  case $(machine_of "$1") in
    x86_64) say amd64 ;;
    aarch64) say arm64 ;;
    *) return 1 ;;
  esac
}
# preset_of ARCHITECTURE: by which what is shipped is built for it here.
preset_of() { if [ "$1" = "$(dpkg --print-architecture)" ]; then say release; else say "$1"; fi; }

# loads FILE...: as ldd says it, of whatever machine they are for.
loads() {
  local machine file
  machine=$(machine_of "$1")
  if [ "$machine" = "$(uname -m)" ]; then
    ldd "$@"
    return
  fi
  for file; do "qemu-$machine-static" "/lib/ld-linux-$machine.so.1" --list "$file" || return; done
}
# where_is LIBRARY MACHINE; ldconfig knows this machine's alone.
where_is() {
  local there=/lib/$2-linux-gnu/$1
  if [ "$2" = "$(uname -m)" ]; then
    ldconfig -p | awk -v name="$1" '$1 == name && !found++ { print $NF }'
  elif [ -e "$there" ]; then
    say "$there"
  fi
}
# libraries_of FILE...: what ld.so finds for them, and for what the agent among them loads when it is on
# a node of Kubernetes (agent/kubernetes/curl.cpp).
libraries_of() {
  local later=() name=libcurl.so.4 found machine
  machine=$(machine_of "$1")
  if grep -aqF "$name" "$@"; then
    later=("$(where_is "$name" "$machine")")
    [ -n "${later[0]}" ] || die "$name is not installed: tools/deps build"
  fi
  found=$({ printf '%s\n' "${later[@]}" && loads "$@" "${later[@]}"; } | grep -oE '/[^ ]+\.so[^ :]*' | sort -u) ||
    die "ld.so finds no libraries of $*"
  say "$found"
}
# package_of FILE: Debian's name of the package it came with, wherever /lib leads.
package_of() { dpkg-query -S "*$(readlink -f "$1" | sed 's|^/usr||')" | cut -d: -f1 | sed -n 1p; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# First-party C++ and BPF C.
first_party() {
  find "$root"/{maps,bpf,agent,exporter,tools,tests} -type f \
    \( -name '*.cpp' -o -name '*.h' -o -name '*.c' -o -name '*.def' \) | sort
}

# First-party shell scripts, known by their first line or their name.
first_party_scripts() {
  {
    find "$root"/{.ci,tools,tests,daemonset} -type f -name '*.sh' 2>/dev/null
    grep -rlIE -m1 '^#!/.*\bbash$' "$root"/{.ci,tools,tests,daemonset} 2>/dev/null
  } | sort -u
}

# shellcheck disable=SC2034 # for COMMAND
exit_status=
# on_exit COMMAND: runs it once when the script ends, by a signal, too, with the status in
# $exit_status, which it may change. The condition is for a subshell that gets a signal before bash
# has reset its traps.
on_exit() {
  # shellcheck disable=SC2064 # $1 as it is now
  trap "exit_status=\$?; [ \$BASHPID != \$\$ ] || { $1; }; exit \$exit_status" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# wait_until SECONDS COMMAND...: whether COMMAND succeeded in time.
wait_until() {
  local deadline=$((SECONDS + $1 + 1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

is_running() { kill -0 "$1" 2>/dev/null; }
is_gone() { ! is_running "$1"; }

# stop_process PID...: asks each to end, then insists.
stop_process() {
  kill -TERM "$@" 2>/dev/null || true
  local pid
  for pid; do
    wait_until 10 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}

# Read from /proc, so that looking makes no traffic of its own.
port_is_taken() {
  grep -qE ":$(printf '%04X' "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
socket_is_taken() { awk -v path="$1" '$8 == path { found = 1 } END { exit !found }' /proc/net/unix; }

# free_port FROM: the first free port from there on.
free_port() {
  local port=$1
  while port_is_taken "$port"; do ((port += 1)); done
  say "$port"
}

# option_value NAME ARGUMENT...: the value given to NAME; fails when NAME is not among the arguments.
option_value() {
  local name=$1
  shift
  while (($#)); do
    case $1 in
      "$name") say "${2-}" && return ;;
      "$name="*) say "${1#*=}" && return ;;
    esac
    shift
  done
  return 1
}

# agent_arguments SOCKET ADDR:PORT STATE_DIR [ARGUMENT...]: sets $arguments for an agent that leaves
# no pins, and $socket and $metrics to where it will be; what the arguments say comes first.
agent_arguments() {
  local own=("${@:4}")
  arguments=("${own[@]}")
  socket=$(option_value --socket "${own[@]}") || {
    socket=$1
    arguments+=(--socket "$socket")
  }
  metrics=$(option_value --listen "${own[@]}") || {
    metrics=$2
    arguments+=(--listen "$metrics")
  }
  option_value --state-dir "${own[@]}" >/dev/null || arguments+=(--state-dir "$3")
  option_value --pin-dir "${own[@]}" >/dev/null || arguments+=(--pin-dir none)
}

cgroup2_root() { awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts; }

# run_in_cgroup DIR COMMAND...: with `&` after it, $! is the command's own pid, because a subshell
# that calls this becomes the command.
run_in_cgroup() {
  if [ "$BASHPID" = "$$" ]; then
    (run_in_cgroup "$@")
    return
  fi
  echo "$BASHPID" >"$1/cgroup.procs"
  shift
  exec "$@"
}

# remove_cgroup DIR: ends what runs in it or below (cgroup.kill, Linux 5.14), then removes it.
remove_cgroup() { wait_until 10 try_remove_cgroup "$1"; }
try_remove_cgroup() {
  [ -d "$1" ] || return 0
  echo 1 >"$1/cgroup.kill"
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
}
