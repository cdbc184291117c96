# SPDX-License-Identifier: Apache-2.0
# The report of event.sh for a reader.

def places($n): pow(10; $n) as $p | (. * $p | round) / $p | tostring;
def left($n): . + " " * ($n - length);
def right($n): " " * ($n - length) + .;
def middle_half($n): "\(.q1 | places($n))..\(.q3 | places($n))";
def row($name; $more; $spread; $n):
  ($name | left(16)) + ($more | left(22)) + ($spread.median | places($n) | right(9))
  + ($spread | middle_half($n) | right(16));

"redis GET, \(.requests) requests, 50 connections, both ends traced; kernel \(.kernel), \(.used_cpus) of \(.cpus) CPUs",
"",
("ns per run" | left(38)) + "   median       quartiles  runs/request",
(.programs[] | row(.subject; .hook; .ns; 1) + (.runs_per_request | places(3) | right(14))),
"",
"rx + tx above the empty program, ns",
(.above_empty[] | row(.subject; "a run of each"; .rx_plus_tx_ns; 1),
  row(.subject; "per request, both ends"; .per_request_ns; 1)),
(.above_empty[] | select(.queue_per_request_ns)
  | row(.subject; "queue, per request"; .queue_per_request_ns; 1)),
"",
"times ours, same round",
(.ratios[] | row(.subject; .to; .times; 2)),
"",
"requests/s lost, %, of \(.throughput[0].lost_percent.n // 0) pairs",
(.throughput[] | row(.subject; "\(.without_per_s | places(0)) -> \(.with_per_s | places(0))";
  .lost_percent; 2)),
"",
"more CPU time, both ends, %",
(.throughput[] | row(.subject; "of \(.without_cpu_ns) ns a request"; .more_cpu_percent; 2))
