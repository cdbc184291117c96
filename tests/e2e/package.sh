#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Debian package in a throw-away Debian with a systemd of its own: installed, it runs as hardened
# as its unit says; upgraded, it keeps what was changed and counted; purged, nothing is left.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
for program in dpkg-shlibdeps mmdebstrap lintian jq shellcheck; do
  command -v "$program" >/dev/null || skip "$program is not installed: tools/deps package lint"
done

# ---- the package alone ----

package=$("$root/tools/package" | tail -n 1)
depends=$(dpkg-deb -f "$package" Depends)
[[ $depends == *libbpf1* && $depends == *libc6* ]] || fail "it depends on $depends"
# Its maintainers have no mail host of their own.
lintian --allow-root --fail-on error,warning \
  --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$package" ||
  fail "lintian finds something"
shellcheck "$root"/packaging/{postinst,prerm,postrm,man.sh,changelog.sh,completion.bash}

dpkg-deb -x "$package" "$work/files"
for page in "$work"/files/usr/share/man/*/*; do
  warnings=$(man --warnings --local-file "$page" 2>&1 >"$work/page" || say "cannot be read")
  [ -z "$warnings" ] || fail "${page##*/}: $warnings"
done

passed "the package of $(stat -c %s "$package") bytes has all that Debian asks for"

# ---- a Debian to put it in ----

cache=${XDG_CACHE_HOME:-$HOME/.cache}/slogate
names=$(sed 's/ ([^)]*)//g; s/ //g' <<<"$depends"),systemd,zsh,fish
base=$cache/debian-bookworm-$(sha256sum <<<"$names" | cut -c 1-12).tar
if [ ! -e "$base" ]; then
  mkdir -p "$cache"
  mmdebstrap --quiet --variant=minbase --include="$names" bookworm "$work/base.tar" ||
    skip "no Debian can be made here"
  mv "$work/base.tar" "$base"
fi
tree=$work/tree
mkdir -p "$tree"
tar -xf "$base" -C "$tree" --exclude='./dev/*'

# As a container: devices and kernel settings are not its own. It runs in our cgroup, with which
# everything in it ends.
cat >"$work/boot" <<'END'
set -e
tree=$1
ip link set lo up
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts old
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l old
rmdir old
exec env -i container=slogate PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=basic.target </dev/null
END
run_in_cgroup "$(make_cgroup machine)" unshare --cgroup --mount --pid --net --ipc --uts --fork \
  --kill-child bash "$work/boot" "$tree" >"$work/boot.log" 2>&1 &
outer=$!
# An init does not end when it is asked to, but with its cgroup, of which bash need not tell.
disown "$outer"
on_exit "remove_cgroup '$cgroup_dir' || true; cleanup"
inside() {
  nsenter --target "$machine" --mount --pid --net --ipc --uts --cgroup --root --wd -- \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
has_booted() {
  machine=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null) && machine=${machine// /} &&
    [ -n "$machine" ] && inside systemctl is-system-running 2>/dev/null | grep -E 'running|degraded' >/dev/null
}
wait_until 60 has_booted || fail "systemd does not come up: $(tail -n 5 "$work/boot.log")"

journal() { inside journalctl --quiet --no-pager --output cat --unit slogate-agent "$@"; }
answers() { inside slogate slos >/dev/null 2>&1; }
serves() { wait_until 20 answers || fail "the agent does not answer: $(journal --lines 5)"; }
# What a removed package may leave: dpkg's and systemd's own records.
all_files() {
  {
    (cd "$tree" && find . -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o \
      -path ./run -prune -o -print)
    inside find /run /sys/fs/bpf ! -path '/run/systemd/*' ! -path '/run/log/*' ! -path '/run/udev/*'
    cut -d : -f 1 "$tree/etc/group" | sed 's/^/group /'
  } | grep -vE '^\./(var/lib/(dpkg|systemd)/|var/log/|var/cache/|opt/|tmp/|var/tmp/|etc/(group|gshadow)-$)' | sort
}

# ---- installed ----

all_files >"$work/before"
cp "$package" "$tree/opt/first.deb"
inside dpkg --install /opt/first.deb
serves
[ "$(inside stat -c '%a %U %G' /run/slogate/agent.sock)" = "660 root slogate" ] ||
  fail "the socket is $(inside stat -c '%a %U %G' /run/slogate/agent.sock)"
inside systemctl --quiet is-enabled slogate-agent || fail "it would not start with the next boot"
inside slogate probes >"$work/probes"
! tail -n +2 "$work/probes" | grep -vE '^$| attached | not needed|^[a-z_]+: ' ||
  fail "not all is attached: $(cat "$work/probes")"
inside systemd-analyze verify --man=no slogate-agent.service
exposure=$(inside systemd-analyze security --no-pager slogate-agent | awk '/Overall/ { print $(NF - 2) }')
inside systemctl reload slogate-agent
is_reloaded() { journal | grep 'configuration reloaded' >/dev/null; }
wait_until 5 is_reloaded || fail "it was not reloaded: $(journal --lines 5)"
! journal | grep -iE 'not permitted|denied|refused itself' || fail "it is kept from something"

restarted=$(now_ms)
inside systemctl restart slogate-agent
ms_until 20 answers || fail "it does not come back: $(journal --lines 5)"
passed "installed, it runs; exposure $exposure of 10; serves $(($(now_ms) - restarted)) ms after a restart is asked for"

# ---- completed ----

# offered SHELL WORD...: what it offers for the last of them, one a line.
offered() {
  # shellcheck disable=SC2016 # for the inner shells
  case $1 in
    bash) inside bash -c '
      . /usr/share/bash-completion/completions/slogate
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
      _slogate "$1"
      printf "%s\n" "${COMPREPLY[@]}"' "$@" ;;
    zsh) inside zsh -c '
      compadd() { [[ $1 = -- ]] && shift; print -l -- ${(M)@:#$words[CURRENT]*} }
      words=("$@") CURRENT=$#
      . /usr/share/zsh/vendor-completions/_slogate' "$@" ;;
    fish) inside HOME=/tmp fish -c "complete -C '${*:2}'" | cut -f 1 ;;
  esac
}
# Found in another way than the completions do: whatever looks like an option or a row of a command.
offers_all() {
  local help word words options
  help=$(inside "${@:2}" --help)
  options=$(offered "$@" -)
  words=$(offered "$@" "")
  for word in $(grep -oE '(^  |,)--?[a-z][a-z-]*' <<<"$help" | tr -d ' ,'); do
    grep -qxF -- "$word" <<<"$options" || fail "$1 does not complete ${*:2} $word"
  done
  while read -r word; do
    grep -qxF -- "$word" <<<"$words" || fail "$1 does not complete ${*:2} $word"
    offers_all "$@" "$word"
    ((completed += 1))
  done < <(sed -n '/^Subcommands:$/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$help")
}
completed=0
for shell in bash zsh fish; do
  offers_all "$shell" slogate
  offers_all "$shell" slogate-agent
done
((completed > 3 * 10)) || fail "only $completed commands are completed"
for shell in bash zsh; do
  [ "$(offered "$shell" slogate -o j)" = json ] || fail "$shell does not complete -o json"
done
[ "$(offered bash slogate --socket /x hist / --signal co)" = connect ] || fail "--signal is not completed"
passed "bash, zsh and fish complete all $completed commands"

# ---- less than the unit gives is too little ----

# refused TEXT SETTING...: with these settings it does not start, and says TEXT.
refused() {
  local text=$1
  shift
  mkdir -p "$tree/etc/systemd/system/slogate-agent.service.d"
  printf '[Service]\nRestart=no\n' >"$tree/etc/systemd/system/slogate-agent.service.d/less.conf"
  printf '%s\n' "$@" >>"$tree/etc/systemd/system/slogate-agent.service.d/less.conf"
  inside systemctl daemon-reload
  inside systemctl stop slogate-agent
  # Nothing is there that would only have to be taken up.
  inside slogate-agent --unpin
  inside systemctl reset-failed slogate-agent
  inside systemctl start slogate-agent || true
  has_failed() { inside systemctl --quiet is-failed slogate-agent; }
  wait_until 10 has_failed || fail "it starts with $*"
  # systemd adds up to three lines of its own: how it ended, and what it took.
  journal --lines 5 | grep -F -- "$text" >/dev/null || fail "with $* it says: $(journal --lines 5)"
  rm -r "$tree/etc/systemd/system/slogate-agent.service.d"
  inside systemctl daemon-reload
}
refused CAP_BPF CapabilityBoundingSet= CapabilityBoundingSet=CAP_PERFMON
refused CAP_PERFMON CapabilityBoundingSet= CapabilityBoundingSet=CAP_BPF
refused 'to group slogate' SupplementaryGroups=
refused /sys/fs/bpf/slogate ReadWritePaths=
refused 'not permitted' SystemCallFilter=~bpf
inside systemctl start slogate-agent
serves
passed "less than the unit gives is too little"

# A mistake in the configuration is not tried again.
configuration=$tree/etc/slogate/slogate.yaml
cp "$configuration" "$work/good.yaml"
echo 'slos: nonsense' >>"$configuration"
inside systemctl restart slogate-agent
# Before it tried again it would be "activating".
state() { inside systemctl show -P "$1" slogate-agent; }
has_ended() { [ "$(state Result)" = exit-code ]; }
wait_until 10 has_ended || fail "with a bad configuration it is $(state Result)"
[ "$(state ActiveState) $(state NRestarts)" = "failed 0" ] ||
  fail "a bad configuration is tried again: $(state ActiveState) $(state NRestarts)"
journal --lines 3 | grep 'slogate.yaml:' >/dev/null || fail "a bad configuration is not located: $(journal --lines 3)"
cp "$work/good.yaml" "$configuration"
inside systemctl start slogate-agent
serves
passed "a mistake in the configuration is not tried again"

# ---- upgraded ----

echo '# mine' >>"$configuration"
dpkg-deb -R "$package" "$work/second"
sed -i 's/^Version: .*/Version: 99/' "$work/second/DEBIAN/control"
echo '# theirs' >>"$work/second/usr/share/slogate/slogate.yaml"
dpkg-deb --build -Znone "$work/second" "$tree/opt/second.deb" >/dev/null
inside dpkg --install /opt/second.deb </dev/null # nobody is there to be asked
serves
tail -n 1 "$configuration" | grep -x '# mine' >/dev/null || fail "the upgrade changed the configuration"
journal --lines 5 | grep 'counting went on' >/dev/null || fail "the upgrade lost counts: $(journal --lines 5)"
passed "an upgrade keeps what was changed and counted"

# ---- gone ----

inside dpkg --remove slogate
[ -e "$configuration" ] || fail "removing it takes the configuration along"
inside dpkg --install /opt/second.deb </dev/null
tail -n 1 "$configuration" | grep -x '# mine' >/dev/null || fail "installed again, it has another configuration"
inside dpkg --remove slogate
[ "$(inside ls /sys/fs/bpf)" = "" ] || [[ $(inside ls /sys/fs/bpf) != *slogate* ]] ||
  fail "programs are still there"
inside dpkg --purge slogate
purged() {
  all_files >"$work/after"
  left=$(comm -13 "$work/before" "$work/after")
  [ -z "$left" ] || fail "purging leaves $left"
}
purged
passed "purged, nothing is left"

# ---- from before answers were read ----

# Then the configuration was a conffile, and had no key `outcomes`: nobody's answers were read but
# where an SLO needs it, as payload was promised unread.
dpkg-deb -R "$package" "$work/before-outcomes"
(
  cd "$work/before-outcomes"
  mkdir -p etc/slogate
  sed '/^outcomes:/d' usr/share/slogate/slogate.yaml >etc/slogate/slogate.yaml
  rm -r usr/share/slogate
  echo /etc/slogate/slogate.yaml >DEBIAN/conffiles
  sed -i 's/^Version: .*/Version: 0.0.1/' DEBIAN/control
  # shellcheck disable=SC2016 # of postinst
  sed -i '/^if \[ -z "\$2" \]/,/^fi/d' DEBIAN/postinst
  sed -i '/slogate.yaml/d' DEBIAN/postrm
)
dpkg-deb --build -Znone "$work/before-outcomes" "$tree/opt/before.deb" >/dev/null
for change in "" "# mine"; do
  inside dpkg --install /opt/before.deb
  serves
  [ -z "$change" ] || echo "$change" >>"$configuration"
  cp "$configuration" "$work/kept.yaml"
  ! grep -q '^outcomes:' "$work/kept.yaml" || fail "the old package has the new key"
  for to in first second; do
    inside dpkg --install "/opt/$to.deb" </dev/null
    serves
    cmp "$work/kept.yaml" "$configuration" || fail "the upgrade changed the configuration"
  done
  inside dpkg --purge slogate
  purged
done
passed "an upgrade from before outcomes were read reads those of SLOs alone, changed or not, and asks nobody"
