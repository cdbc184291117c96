#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/test counts cases, says why some were skipped, tries again what failed, and finds what is left
# behind: with tests of its own, of which it is known what becomes of them.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

copy=$work/copy
mkdir -p "$copy/tools" "$copy/source"
cp "$root"/tools/{test,lib.sh,results.awk} "$copy/tools"
# Nothing is to be installed or built.
for command in deps build; do
  printf '#!/bin/sh\n' >"$copy/tools/$command"
  chmod +x "$copy/tools/$command"
done

# becomes SCRIPT...: the tests of the label unit are these shell scripts, the first one unit.1.
becomes() {
  local number=0 script
  {
    say 'cmake_minimum_required(VERSION 3.25)'
    say 'project(these NONE)'
    say 'enable_testing()'
    say 'add_test(NAME build.all COMMAND true)'
    say 'set_tests_properties(build.all PROPERTIES FIXTURES_SETUP all)'
    for script; do
      number=$((number + 1))
      say "$script" >"$copy/source/$number"
      say "add_test(NAME unit.$number COMMAND bash $copy/source/$number)"
      say "set_tests_properties(unit.$number PROPERTIES LABELS unit FIXTURES_REQUIRED all SKIP_RETURN_CODE 77 TIMEOUT 20)"
    done
  } >"$copy/source/CMakeLists.txt"
  cmake -S "$copy/source" -B "$copy/build/dev" >"$work/cmake.log"
}
# says LINE...: extended regular expressions.
says() {
  local line
  for line; do grep -qxE -- "$line" <<<"$output" || fail "tools/test does not say \"$line\": $output"; done
}

# One case more than is listed here: that nothing is left behind.
becomes 'echo quiet' 'echo "passed: one"; echo "passed: two"; echo "skipped: three: no <room>"' \
  'echo "no root"; exit 77' 'cat <<"END"
[ RUN      ] Suite.One
[       OK ] Suite.One (0 ms)
[ RUN      ] Suite.Two/1
suite.cpp:7: Skipped
no kernel

[  SKIPPED ] Suite.Two/1 (0 ms)
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] Suite.Two/1
END'
expect_exit 0 "$copy/tools/test" --quick
says "skipped  unit.2: three: no <room>" "skipped  unit.3: no root" "skipped  unit.4: Suite.Two/1: no kernel"
[[ $output == *"5 passed, 0 failed, 3 skipped" ]] || fail "the last line is ${output##*$'\n'}"
passed "cases are counted, and what was skipped is listed with its reason"

# shellcheck disable=SC2016 # for the tests
becomes 'echo "passed: one"; [ -e '"$work"'/once ] || { touch '"$work"'/once; echo "FAILED: two"; exit 1; }' \
  'echo "passed: one"; echo "FAILED: two is three"; exit 1' \
  'echo "[ RUN      ] Suite.Crash"; kill -SEGV $$' \
  'echo "[       OK ] Suite.One (0 ms)"; echo leaks; exit 1' \
  'echo "[==========] 0 tests from 0 test suites ran. (0 ms total)"'
expect_exit 1 "$copy/tools/test" --quick
says "passed only when tried again  unit.1: two" "FAILED   unit.2: two is three" \
  "FAILED   unit.3: SEGFAULT, last in Suite.Crash" "FAILED   unit.4: Failed, at last: leaks" \
  "FAILED   unit.5: no test ran"
[[ $output == *"4 passed, 4 failed, 0 skipped" ]] || fail "the last line is ${output##*$'\n'}"
passed "what failed is tried again, and named when it fails once more"

becomes 'sleep 60 >/dev/null 2>&1 & echo "passed: one"'
expect_exit 1 "$copy/tools/test" --quick
says "FAILED   left behind: process [0-9]* \(sleep 60 \)"
passed "what is left behind is found, and ended"
