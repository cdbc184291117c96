#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# changelog.sh [FILE]: CHANGELOG.md, or FILE, as Debian's changelog. What has no version yet is left out.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# In Debian's form lines have 80 characters at most, headings stand in brackets, and a date names its day.
awk '
  function end_item(   words, count, i, line) {
    count = split(item, words, " ")
    line = "  *"
    for (i = 1; i <= count; i++) {
      if (length(line) + length(words[i]) > 78) { print line; line = "   " }
      line = line " " words[i]
    }
    if (count) print line
    item = ""
  }
  function end_version(   command, day) {
    end_item()
    if (!version) return
    command = "LC_ALL=C date -u -R -d " date
    command | getline day
    close(command)
    print "\n -- slogate maintainers <slogate@localhost>  " day
    version = ""
  }
  /^## \[Unreleased\]/ { end_version(); next }
  /^## \[[0-9.]+\] - [0-9-]+$/ {
    if (version) { end_version(); print "" }
    date = $4; version = substr($2, 2, length($2) - 2)
    print "slogate (" version ") bookworm; urgency=medium\n"
    next
  }
  !version { next }
  /^$/ { end_item(); next }
  /^### / { end_item(); print "\n  [ " $2 " ]"; next }
  /^- / { end_item(); sub(/^- /, "") }
  { item = item " " $0 }
  END { end_version() }' "${1:-$root/CHANGELOG.md}"
