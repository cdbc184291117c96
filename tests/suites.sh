#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/suites.sh PROGRAM... -- SUITE...
#
# Fails when a program of GoogleTest has a suite that is not named here, of which ctest knows nothing.
set -euo pipefail

program=()
while [ "$1" != -- ]; do
  program+=("$1")
  shift
done
shift
# Suites with parameters are INSTANCE/SUITE, those with types SUITE/NUMBER.
unknown=$("${program[@]}" --gtest_list_tests | sed -nE 's/^([^ ]+)\..*/\1/p' | sed -E 's|/[0-9]+$||; s|.*/||' |
  sort -u | grep -vxFf <(printf '%s\n' "$@") || true)
[ -z "$unknown" ] || {
  echo "FAILED: ctest knows nothing of these suites: ${unknown//$'\n'/ }"
  exit 1
}
