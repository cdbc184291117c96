#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/rooms finds what it is for, in a copy of the repository: an arrow that runs the wrong way, a file
# in no room, rooms in a circle, a library linked with another room, a drawing that is out of date.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

copy=$work/copy
fresh_copy() {
  rm -rf "$copy"
  mkdir "$copy"
  {
    first_party
    find "$root"/{maps,bpf,agent,exporter,tools} -name CMakeLists.txt
    printf '%s\n' "$root"/{tools/rooms,tools/lib.sh,docs/architecture.md}
  } | sed "s|^$root/||" | tar -C "$root" -c -T - | tar -C "$copy" -x
}
# finds TEXT... in the copy, and leaves a copy without.
finds() {
  expect_exit 1 "$copy/tools/rooms"
  local text
  for text; do [[ $output == *"$text"* ]] || fail "tools/rooms does not say \"$text\": $output"; done
  fresh_copy
}
# allow ROOM OTHER: another arrow for the room's row.
allow() { sed -i -E "/^\| $1 /s/ \|\$/, $2 |/" "$copy/docs/architecture.md"; }

fresh_copy
expect_exit 0 "$copy/tools/rooms"
passed "the repository is as its table says"

sed -i '3i #include "agent/canary/judge.h"' "$copy/agent/base/glob.cpp"
finds "agent/base/glob.cpp:3: base may not include canary (agent/canary/judge.h)" "docs/architecture.md"
sed -i '3i #  include "../canary/judge.h"  // by another way' "$copy/agent/base/glob.cpp"
finds "agent/base/glob.cpp:3: base may not include canary"
sed -i '3i #include "tests/support/clock.h"' "$copy/agent/agent.h"
finds "agent/agent.h:3: agent may not include tests"
sed -i '3i #include "bpf/request.skel.h"' "$copy/exporter/text.cpp"
finds "exporter/text.cpp:3: exporter may not include bpf"
passed "an include that runs the wrong way is named with its line"

allow base canary
finds "CMakeLists.txt of base" "base -> canary" "circle"
passed "rooms may not be allowed to include each other"

mv "$copy/agent/base/glob.cpp" "$copy/agent/glob.cpp"
# shellcheck disable=SC2016 # backticks of Markdown
sed -i 's/^| agent | `agent\/`/| agent | `agent\/a`, `agent\/m`/' "$copy/docs/architecture.md"
finds "agent/glob.cpp: is in no room"
passed "each file is in a room"

sed -i 's/MAY_INCLUDE maps/MAY_INCLUDE maps canary/' "$copy/agent/base/CMakeLists.txt"
finds "CMakeLists.txt of base"
passed "a room's library is linked with what it may include"

sed -i 's/^  api --> snapshot$/  api --> measure/' "$copy/docs/architecture.md"
finds "tools/rooms --write"
sed -i 's/^  api --> snapshot$/  api --> measure/' "$copy/docs/architecture.md"
"$copy/tools/rooms" --write
cmp "$root/docs/architecture.md" "$copy/docs/architecture.md" || fail "--write draws something else"
passed "a drawing that is out of date is found, and mended"
