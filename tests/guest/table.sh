#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/guest/table.sh DIRECTORY
#
# Writes the tables of docs/kernels.md anew, from what agent.sh left in a directory for each kernel.
set -euo pipefail
# shellcheck source=../../tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"
[ $# -eq 1 ] || usage_error "$(help_text)"

tables=$(jq -rs -f "$(dirname "$0")/table.jq" "$1"/*.json)
page=$root/docs/kernels.md
awk -v tables="$tables" '
  /^<!-- end of what/ { within = 0 }
  !within
  /^<!-- what tools\/test --kernels saw/ { within = 1; print tables }' "$page" >"$page.new"
mv "$page.new" "$page"
