#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How the programs were built: what makes a defect in them hard to use.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
command -v readelf >/dev/null || skip "readelf is not installed"

# shows PROGRAM WHAT PATTERN OPTION...: what readelf says with these options has the pattern.
shows() {
  readelf --wide "${@:4}" "$programs/$1" | grep -E "$3" >/dev/null || fail "$1: $2"
}
for program in slogate-agent slogate; do
  shows "$program" "is at a fixed address" 'Type: +DYN' --file-header
  shows "$program" "its jump tables can be written" '^ +GNU_RELRO' --program-headers
  shows "$program" "its jump tables can be written" 'BIND_NOW' --dynamic
  shows "$program" "its stack can be run" '^ +GNU_STACK .* RW +0x' --program-headers
  shows "$program" "its stack is not guarded" '__stack_chk_fail' --dyn-syms
  shows "$program" "copies are not checked" '__mem(cpy|set|move)_chk' --dyn-syms
  ! readelf --dynamic "$programs/$program" | grep -E 'RPATH|RUNPATH' || fail "$program loads libraries from elsewhere"
  # In effect only where the C library was built so, too, which Debian 12's is not.
  [ "$(uname -m)" != x86_64 ] || objdump --disassemble=main "$programs/$program" | grep endbr64 >/dev/null ||
    fail "$program: indirect jumps are not marked"
  passed "$program is position-independent, with RELRO, no executable stack, guarded, fortified, indirect jumps marked"
done
