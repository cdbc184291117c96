# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Other kernels, in guests that qemu emulates: no KVM, no disk, no network but their own. What a
# guest runs is packed into its initramfs, with the shared libraries it needs.
# shellcheck source=../e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
# shellcheck source=../e2e/debian.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/debian.sh"

cache=$debian_cache/kernels

# unpack PACKAGE DIR: and what it consists of: since 6.19 a kernel is several packages, and the
# newest of a kind is a package that only depends on it.
unpack() {
  local wanted=("$1") package file
  while [ ${#wanted[@]} -gt 0 ]; do
    package=${wanted[0]}
    wanted=("${wanted[@]:1}")
    rm -rf "$2/deb"
    mkdir -p "$2/deb"
    (cd "$2/deb" && "${apt[@]}" download "$package") || return
    file=$(echo "$2"/deb/*.deb)
    dpkg -x "$file" "$2" || return
    mapfile -t -O ${#wanted[@]} wanted < <(dpkg -f "$file" Depends Pre-Depends | tr ',|' '\n' |
      grep -oE 'linux-(image|binary|modules)-[0-9][^ :]*' | grep -vxF "$package")
  done
}

# need_kernel PACKAGE[/SUITE]: sets $kernel to its directory in the cache, with vmlinuz and
# lib/modules, and $release to what uname -r says there. Ends the script when it can't be had.
need_kernel() {
  local suites=(bookworm bookworm-security bookworm-backports) program
  for program in qemu-system-x86_64 busybox cpio modprobe; do
    command -v "$program" >/dev/null || skip "no $program: tools/deps guest installs it"
  done
  [[ $1 != */* ]] || suites=("${1#*/}")
  kernel=$cache/${1//\//_}
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  [ -e "$kernel/vmlinuz" ] || fetch_kernel "${1%/*}" "${suites[@]}" ||
    skip "cannot download the kernel $1"
  exec 9>&-
  release=$(basename "$kernel"/lib/modules/*)
}

# fetch_kernel PACKAGE SUITE...
fetch_kernel() {
  local fresh=$kernel.new
  rm -rf "$fresh"
  apt_of "${@:2}" && unpack "$1" "$fresh" || return
  rm -rf "$fresh/deb" "$kernel"
  [ -d "$fresh/lib" ] || ln -s usr/lib "$fresh/lib"
  ln -s "$(cd "$fresh" && find . -name 'vmlinuz*' -type f | sed -n 1p)" "$fresh/vmlinuz"
  depmod -b "$fresh" "$(basename "$fresh"/lib/modules/*)"
  mv -T "$fresh" "$kernel"
}

# new_tree: sets $tree to a directory with what every guest needs.
new_tree() {
  tree=$work/tree
  mkdir -p "$tree"/{bin,dev,proc,sys,tmp,run,out,etc,root}
  cp "$root/tests/guest/init" "$tree/init"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  # Not busybox, whose shell takes its own ip and tc for any other.
  pack "$(command -v bash)"
  ln -s "$(command -v bash)" "$tree/bin/sh"
}

# pack FILE...: programs with their shared libraries, without what only a debugger reads.
pack() {
  local file
  for file in $(
    printf '%s\n' "$@"
    ldd "$@" 2>/dev/null | grep -oE '/[^ :]+\.so[^ :]*' | sort -u
  ); do
    [ ! -e "$tree$file" ] || continue
    install -D "$file" "$tree$file"
    strip -g "$tree$file" 2>/dev/null || true
  done
}

# pack_modules MODULE...: with those they need, numbered in the order of loading. What is built into
# the kernel or not there at all is left out.
pack_modules() {
  local file name number=100
  mkdir -p "$tree/modules"
  { modprobe -d "$kernel" -S "$release" -a --show-depends "$@" 2>/dev/null || true; } |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r file; do
      name=$(basename "$file" | sed 's/\.ko.*//')
      case $file in
        *.xz) xz -dc "$file" ;;
        *.zst) zstd -qdc "$file" ;;
        *) cat "$file" ;;
      esac >"$tree/modules/$((number++))-$name.ko"
    done
}

# boot SECONDS: runs the tree's /job under the kernel. What it said is printed, what it left in /out
# lies in $work/out then, and its exit status is returned: 124 when it took too long, 125 when the
# guest died.
boot() {
  local out=$work/out status=0
  mkdir -p "$out"
  chmod +x "$tree/job"
  (cd "$tree" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
  # One thread: with more, emulated kernels were seen to die while they patched their own text.
  timeout "$1" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 2048 \
    -display none -no-reboot -net none -serial stdio -serial "file:$work/tar" \
    -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
    -append "console=ttyS0 panic=-1 quiet" </dev/null > >(sed -u 's/\r//g') &
  track $!
  wait $! || status=$?
  [ "$status" -eq 0 ] || return "$status"
  tar -x --warning=no-timestamp -C "$out" -f "$work/tar" 2>/dev/null || return 125
  return "$(cat "$out/status")"
}
