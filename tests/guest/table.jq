# SPDX-License-Identifier: Apache-2.0
# What agent.sh saw under several kernels -> the tables of docs/kernels.md.
def row: "| " + join(" | ") + " |";
def table($head): ($head | row), ($head | map("---") | row), .[];
def version: .kernel | split("-")[0] | split("+")[0] | split(".") | map(tonumber);
def code: if . == "" then "–" else split(" ") | map("`" + . + "`") | join(" ") end;
# A signal: how often it was seen. A counter: its sum.
def total: if type == "object" then [.[] | total] | add // 0 else . // 0 end;

sort_by(version) as $all
| ($all | map(select(.probes))) as $run
| ["request", "queue", "client_request", "connect", "rtt"] as $signals
| ($run[0].counted.counters | keys_unsorted) as $counters
| ([$run[0].probes[] | . as $probe
    | [$probe.program, $probe.what]
      + [$run[] | .probes[] | select(.program == $probe.program)
         | if .attached then .attached_to | code elif .degraded then "missing" else "not needed" end]
    | row]
   | table(["program", "for"] + ($run | map(.kernel)))),
  "",
  ([($signals[] | . as $name
     | ["`" + $name + "`"] + [$run[] | .counted.signals[$name].count | total | tostring] | row),
    ($counters[] | . as $name
     | ["`" + $name + "`"] + [$run[] | .counted.counters[$name] | total | tostring] | row),
    (["runs left out"] + [$run[] | .missed | tostring] | row)]
   | table(["counted"] + ($run | map(.kernel)))),
  "",
  ($all[] | select(.refused) | "\(.kernel) is refused: `\(.refused | rtrimstr("\n"))`")
