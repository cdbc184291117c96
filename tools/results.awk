# SPDX-License-Identifier: Apache-2.0
# awk -v report=REPORT -f tools/results.awk LOG REPORT
#
# Of ctest's report in JUnit's form, and its log: a line "passed|skipped|failed TEST CASE", with tabs, for
# each case: those that GoogleTest or a script names, or the test itself. Building is no case.
BEGIN { OFS = "\t" }
function case_is(state, name) { lines[++n] = state OFS test OFS name; count[state]++ }
# Of GoogleTest: the name may be followed by its parameter and the time.
function name_of(line) { sub(/^\[[ A-Z]+\] /, "", line); sub(/,? .*/, "", line); return line }
function attribute(key,  value) {
  value = $0
  return sub(".* " key "=\"", "", value) ? substr(value, 1, index(value, "\"") - 1) : ""
}
function heard(line) {
  gsub(/&lt;/, "<", line); gsub(/&gt;/, ">", line); gsub(/&quot;/, "\"", line); gsub(/&amp;/, "\\&", line)
  if (line != "") last = line
  if (line ~ /^\[       OK \] /) case_is("passed", name_of(line))
  else if (line ~ /^\[  FAILED  \] .* ms\)$/) case_is("failed", name_of(line))
  else if (line ~ /^\[  SKIPPED \] .* ms\)$/) case_is("skipped", name_of(line) ": " reason)
  else if (line ~ /^\[ RUN      \] /) running = name_of(line)
  else if (line ~ /^\[==========\] 0 tests /) case_is("failed", "no test ran")
  else if (sub(/^passed: /, "", line)) case_is("passed", line)
  else if (sub(/^skipped: /, "", line)) case_is("skipped", line)
  else if (sub(/^FAILED: /, "", line)) case_is("failed", line)
  if (reason_is_next) { reason = line; reason_is_next = 0 }
  if (line ~ /: Skipped$/) reason_is_next = 1
}
function end_of_test(  i) {
  if (message ~ /^SKIP_RETURN_CODE/) { n = 0; case_is("skipped", last) }
  else if (status == "run") { if (!n && test !~ /^build\./) case_is("passed", test) }
  else if (!count["failed"])
    case_is("failed", (how[test] == "" ? message : how[test]) (running == "" ? ", at last: " last : ", last in " running))
  for (i = 1; i <= n; i++) print lines[i]
}
# The log of ctest closes with what became of those that did not pass.
FILENAME != report { if ($0 ~ /^\t *[0-9]+ - [^ ]+ \(/) { how[$3] = $0; sub(/^[^(]*\(/, "", how[$3]); sub(/\)$/, "", how[$3]) }; next }
/^\t<testcase / {
  test = attribute("name"); status = attribute("status")
  n = 0; message = last = reason = running = ""; inside = reason_is_next = 0
  split("", count)
}
/^\t\t<skipped / { message = attribute("message") }
/^\t\t<system-out>/ { inside = 1; sub(/^\t\t<system-out>/, "") }
inside { if (sub(/<\/system-out>$/, "")) { heard($0); inside = 0 } else heard($0) }
/^\t<\/testcase>/ { end_of_test() }
