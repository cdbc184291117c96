#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the CLI says when it is called wrongly, and when no agent is there.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

one_line() { [ -n "$1" ] && [ "$(wc -l <<<"$1")" -eq 1 ]; }

expect_exit 0 slogate --help
[[ $output == *cgroups* ]] || fail "--help does not name the commands: $output"

passed "--help names the commands"

expect_exit 64 slogate
expect_exit 64 slogate no-such-command
expect_exit 64 slogate --no-such-option cgroups
expect_exit 64 slogate -o yaml cgroups
expect_exit 64 slogate hist
passed "wrong usage ends with 64"

for command in cgroups maps probes "hist /"; do
  # shellcheck disable=SC2086 # a command and its argument
  expect_exit 3 slogate $command
  one_line "$output" || fail "\"$command\" without an agent says more or less than one line: $output"
  [[ $output == *"$socket"* ]] || fail "\"$command\" without an agent does not name the socket: $output"
done
passed "a missing agent is told in one line, and ends with 3"
