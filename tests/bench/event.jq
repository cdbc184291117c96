# SPDX-License-Identifier: Apache-2.0
# From the samples of event.sh to its report.

include "stats";

# Which hook a program is on, by its name, and which part of the job it does.
def hook:
  {data_ready: "sk_data_ready", empty_data_ready: "sk_data_ready", hash_data_ready: "sk_data_ready",
   sk_data_ready: "sk_data_ready", send_locked: "tcp_sendmsg_locked",
   empty_send_locked: "tcp_sendmsg_locked", send_length: "sock_send_length",
   empty_send_length: "sock_send_length", hash_send: "sock_send_length",
   sock_send_lengt: "sock_send_length", first_read: "tcp_rcv_space_adjust",
   empty_first_read: "tcp_rcv_space_adjust"}[.];
def part:
  {sk_data_ready: "rx", tcp_sendmsg_locked: "tx", sock_send_length: "tx",
   tcp_rcv_space_adjust: "read"}[.];

[$events[] | .hook = (.program | hook) | select(.hook) | .each = .ns / .runs] as $runs
# Above the empty program on the same hook in the same round.
| (INDEX($runs[] | select(.subject == "empty"); "\(.round) \(.hook)")) as $empty
| [$runs[] | select(.subject != "empty")
   | .above = .each - $empty["\(.round) \(.hook)"].each
   | .per_request = .above * .runs / $requests] as $above
| [$above | group_by(.round, .subject)[]
   | {round: .[0].round, subject: .[0].subject,
      pair: ([.[] | select(.hook | part != "read") | .above] | add),
      request: ([.[] | select(.hook | part != "read") | .per_request] | add),
      read: ([.[] | select(.hook | part == "read") | .per_request] | add)}] as $sums
| (INDEX($sums[]; "\(.round) \(.subject)")) as $by
| {
    benchmark: "event", $kernel, $cpus, $used_cpus, $requests,
    programs: [$runs | group_by(.subject, .hook)[]
      | {subject: .[0].subject, program: .[0].program, hook: .[0].hook, ns: (map(.each) | spread),
         runs_per_request: (map(.runs / $requests) | quantile(0.5)), missed: (map(.missed) | add)}],
    above_empty: [$sums | group_by(.subject)[]
      | {subject: .[0].subject, rx_plus_tx_ns: (map(.pair) | spread),
         per_request_ns: (map(.request) | spread)}
        + if .[0].read then {queue_per_request_ns: (map(.read) | spread)} else {} end],
    # How many times the cost of ours, paired by round.
    ratios: [$sums | group_by(.subject)[] | select(.[0].subject | startswith("slogate") | not)
      | {subject: .[0].subject, to: ("slogate-request", "slogate")} as $r
      | $r + {times: (map(.request / $by["\(.round) \($r.to)"].request) | spread)}],
    throughput: [$pairs | group_by(.subject)[]
      | {subject: .[0].subject, without_per_s: (map(.without.per_s) | quantile(0.5)),
         with_per_s: (map(.with.per_s) | quantile(0.5)),
         lost_percent: (map(100 * (1 - .with.per_s / .without.per_s)) | spread),
         without_cpu_ns: (map(.without.cpu_ns) | quantile(0.5)),
         more_cpu_percent: (map(100 * (.with.cpu_ns / .without.cpu_ns - 1)) | spread)}],
    samples: {events: $events, pairs: $pairs}
  }
