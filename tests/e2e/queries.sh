#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real Prometheus servers scrape a real agent: every rule, every query of the dashboard and of the
# controllers' templates has an answer, a slow canary is vetoed, and the controllers get a value when
# nothing is known or the agent is gone.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"
need_root
need_cgroup2
command -v prometheus >/dev/null || skip "prometheus is not installed"

deployed=$root/daemonset
cat >"$work/slogate.yaml" <<END
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/canary/**" }
    baseline: { cgroup: "$cgroup_prefix/stable/**" }
    objectives:
      - { signal: queue, quantile: 0.9, max_increase: 1ms }
    warmup: 0s
END
if command -v nginx >/dev/null; then
  cat >>"$work/slogate.yaml" <<END
  - name: mixed
    canary: { cgroup: "$cgroup_prefix/mixed" }
    baseline: { cgroup: "$cgroup_prefix/stable/**" }
    objectives:
      - { signal: request, quantile: 0.9, max: 10s }
    warmup: 0s
END
fi
start_agent --config "$work/slogate.yaml"
slogate rules --config "$work/slogate.yaml" --interval 2s >"$work/slos.yaml"
# Those once a minute more often, and in two parts, as docs/prometheus.md has it.
sed 's/interval: 1m/interval: 2s/' "$deployed/prometheus/workloads.yaml" >"$work/workloads.yaml"
cat >"$work/prometheus.yml" <<END
global: { scrape_interval: 1s, evaluation_interval: 2s }
rule_files: ["$deployed/prometheus/rules.yaml", "$work/workloads.yaml", "$work/slos.yaml"]
scrape_configs:
  - { job_name: slogate-slos, params: { part: [slos] }, static_configs: [{ targets: ["$metrics"] }] }
  - { job_name: slogate, params: { part: [others] }, static_configs: [{ targets: ["$metrics"] }] }
END
# start_prometheus NAME PROGRAM: sets $address.
start_prometheus() {
  address=127.0.0.1:$(free_port $((20000 + RANDOM % 10000)))
  "$2" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/$1" --web.listen-address="$address" \
    --enable-feature=native-histograms >"$work/$1.log" 2>&1 &
  track $!
  wait_until 20 curl --silent --fail --output "$work/ready" "http://$address/-/ready" ||
    fail "$2 does not start: $(tail -n 3 "$work/$1.log")"
}
newest=
if prometheus_3; then
  start_prometheus newest "$prometheus_3"
  newest=$address
else
  left_out "the queries of Prometheus 3: it cannot be downloaded, or does not run here"
fi
start_prometheus prometheus prometheus

# ask QUERY: the answer, less what is not a number.
ask() {
  curl --silent --show-error --fail-with-body --max-time 10 "http://$address/api/v1/query" \
    --data-urlencode "query=$1" | jq '[.data.result[] | select((.value // ["", ""])[1] != "NaN")]'
}
has_answer() { [ "$(ask "$1" | jq length)" -gt 0 ]; }
is_value() { [ "$(ask "$1" | jq -c '[.[].value[1] | tonumber]')" = "[$2]" ]; }

# panel_queries: of the dashboard, with its variables filled in.
panel_queries() {
  jq -r '.panels[].targets[]?.expr' "$deployed/prometheus/dashboard.json" |
    sed "s/\$slo/.*/g; s/\$__rate_interval/10s/g; s|\$cgroup|$cgroup_prefix/.*|g; s/\$namespace/.*/g; s/\$pod/.*/g"
}
# controller_queries SLO: of the templates for Argo Rollouts and Flagger.
controller_queries() {
  sed -nE 's/^ *query: //p' "$deployed"/{argo,flagger}/*.yaml |
    sed -E "s/\{\{ ?(args|variables)\.slo ?\}\}/$1/"
}
# What each rule records; an alert is to be silent, but the series it looks at are to be there, but for
# those of nodes of Kubernetes, of problems and of breakers, of which there was none, and those of classic histograms,
# which are there only where native ones are not.
rule_queries() {
  curl --silent --fail "http://$address/api/v1/rules" >"$work/rules.json"
  jq -r '.data.groups[].rules[] | select(.type == "recording")
    | "last_over_time(\(.name){\(.labels // {} | to_entries
        | map("\(.key)=\(.value | tojson)") | join(","))}[10m])"' "$work/rules.json"
  jq -r '.data.groups[].rules[] | select(.type == "alerting" and .name != "NativeHistogramsMissing").query' "$work/rules.json" |
    sed 's/"[^"]*"//g; s/slogate_kubernetes_up//; s/slogate_problem//; s/slogate_breaker_open//' | grep -oE '\b(slogate|slo:slogate)_[a-z_:]+|\bup\b' | sort -u
}

start_arm stable --service lognormal:2:0.5
# The edges have a group of their own, which is evaluated every 24 s.
wait_until 120 has_answer 'slo:slogate_pooled_edge{level="p99.9"}' ||
  fail "no edge of the baseline: $(ask '{__name__=~"slo:.*"}')"
while read -r query; do
  is_value "$query" 0 || fail "before a canary \"$query\" is $(ask "$query")"
done < <(controller_queries demo)
passed "before a canary the controllers get 0"

start_arm canary --service lognormal:6:0.5
wait_until 60 has_answer \
  'slo:slogate_evidence_log_e{test="pooled"} >= on (slo) slo:slogate_evidence_threshold' ||
  fail "the pooled rules do not veto: $(ask 'slo:slogate_evidence_log_e')"
# The agent's own veto ends at ln(1 / alpha), by a mixture that has later starts as well.
wait_until 60 has_answer 'slo:slogate_evidence_log_e{test="paired"} > 5' ||
  fail "the node's evidence is not the fleet's: $(ask 'slo:slogate_evidence_log_e')"
wait_until 10 has_answer 'slo:slogate_verdict == -1' || fail "no veto: $(ask slo:slogate_verdict)"
passed "a slow canary is vetoed, by the fleet's rules as by the node's"

# ---- errors, where few outcomes are known ----

# One server answers, one hangs up, and one speaks a protocol that nobody knows: of 20 answers and 30
# of the last one 40 % are known, and 40 requests that got none do not change that.
if command -v nginx >/dev/null; then
  answering=$(free_port $((21000 + RANDOM % 4000))) hanging_up=$(free_port $((25000 + RANDOM % 4000)))
  mapfile -t command < <(nginx_in "$work/nginx" "keepalive_requests 100000000;
    server { listen 127.0.0.1:$answering; location / { return 200 \"well\n\"; } }
    server { listen 127.0.0.1:$hanging_up; return 444; }")
  run_in_cgroup "$(make_cgroup mixed)" "${command[@]}" &
  track "$!"
  wait_until 20 port_is_taken "$hanging_up" || fail "nginx does not listen"
  curl_at "$(make_cgroup load)" "$answering" 20 && track "$!"
  curl_at "$(make_cgroup load)" "$hanging_up" 40 && track "$!"
  arm_rate=3 start_arm mixed --service lognormal:2:0.5
  unknown=("$driver" "$arm")
  errors_of_mixed="workload:slogate_errors:ratio_rate5m{cgroup=\"$cgroup_prefix/mixed\"}"
  pooled_of_mixed='slo:slogate_pooled_exposures{slo="mixed", objective="errors against the baseline", arm="canary"}'
  few_are_known() {
    api /v1/verdicts/mixed | jq -e '.outcomes_known > 0.2 and .outcomes_known < 0.5 and
      ([.objectives[] | select(.objective == "errors against the baseline")][0].canary == null)' >/dev/null
  }
  many_are_known() {
    api /v1/verdicts/mixed | jq -e '.outcomes_known > 0.6 and
      ([.objectives[] | select(.objective == "errors against the baseline")][0].canary > 0.5)' >/dev/null
  }
  has_unanswered() { has_answer "rate(slogate_unanswered_requests_total{cgroup=\"$cgroup_prefix/mixed\",role=\"server\"}[10s]) > 20"; }
  wait_until 30 has_unanswered || fail "no request is left unanswered"
  wait_until 30 few_are_known || fail "the node says $(api /v1/verdicts/mixed | jq -c '.outcomes_known, .objectives[].canary')"
  sleep 5 # a block of the rules, of 2 s
  for query in "$errors_of_mixed" "$pooled_of_mixed"; do
    ! has_answer "$query" || fail "the node says nothing of errors, and Prometheus $(ask "$query")"
  done
  stop_process "${unknown[@]}"
  # So many requests without an answer are a veto, which stays as it is.
  slogate reset mixed >/dev/null
  wait_until 60 many_are_known || fail "the node says $(api /v1/verdicts/mixed | jq -c '.outcomes_known, .objectives[].canary')"
  wait_until 20 has_answer "$pooled_of_mixed" || fail "the node counts errors, and Prometheus does not"
  passed "node and Prometheus agree where too little is known of errors"
fi

# The generator speaks no protocol that is known, so nothing is said of its errors.
of_errors() { [[ $1 == *slogate_errors* || $1 == *'"errors '* ]]; }
# check_queries: that the server at $address answers them all.
check_queries() {
  local query asked=0 broken
  while read -r query; do
    ! of_errors "$query" || continue
    wait_until 120 has_answer "$query" || fail "no answer to $query"
    ((asked += 1))
  done < <(panel_queries && rule_queries)
  ((asked > 60)) || fail "only $asked queries were found"
  # Prometheus 2.42 discards a recorded histogram whose buckets add up to more than its count, be it by
  # rounding; the rules make do with what they had before.
  broken=$(jq -c '[.data.groups[].rules[] | select(.health != "ok"
    and ((.name == "slo:slogate_pooled_history" and (.lastError | contains("observations found in buckets"))) | not))]' "$work/rules.json")
  [ "$broken" = "[]" ] || fail "rules that fail: $broken"
  passed "$asked queries of rules and dashboard have an answer from Prometheus $(version_at)"
}
version_at() { curl --silent --fail "http://$address/api/v1/status/buildinfo" | jq -r .data.version; }
[ -z "$newest" ] || address=$newest check_queries
check_queries
wait_until 10 has_answer 'ALERTS{alertname="CanarySLOViolation", alertstate="firing"}' || fail "no alert fires"
passed "a veto fires its alert"

check_controllers() {
  local query
  while read -r query; do
    is_value "$query" -1 || fail "$1 \"$query\" is $(ask "$query")"
  done < <(controller_queries demo)
  while read -r query; do
    is_value "$query" 0 || fail "$1 \"$query\" is $(ask "$query")"
  done < <(controller_queries unknown)
}
check_controllers "after a veto"
passed "the controllers get the veto"
evidence=$(ask slo:slogate_evidence_log_e | jq -c 'map({(.metric.test): .value[1]}) | add')
stop_agent
wait_until 10 is_value 'up{job="slogate"}' 0 || fail "the agent is gone, and up"
check_controllers "without an agent"
passed "without an agent they get it still; the evidence: $evidence"
