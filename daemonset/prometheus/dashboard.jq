# SPDX-License-Identifier: Apache-2.0
# The Grafana dashboard: jq -n -f dashboard.jq >dashboard.json
# Each panel is a row of the tables below; a query is its PromQL and what its series are called.
# Every query answers on a healthy node: tests/e2e/queries.sh runs them all.

def verdicts: [
  {title: "Verdict", kind: "state-timeline", unit: "none", queries: [
    ["slo:slogate_verdict{slo=~\"$slo\"}", "{{slo}}"]]},
  {title: "Evidence against the canary, and where it is a veto", kind: "timeseries", unit: "none", queries: [
    ["slo:slogate_evidence_log_e{slo=~\"$slo\"}", "{{slo}}, {{test}}"],
    ["slo:slogate_veto_threshold{slo=~\"$slo\"}", "{{slo}}, veto"]]},
  {title: "p99 of requests, canary and baseline", kind: "timeseries", unit: "s", queries: [
    ["slo:slogate_request_duration_seconds:p99_5m{slo=~\"$slo\"}", "{{slo}}, {{arm}}"]]},
  {title: "Evidence of each node and objective", kind: "timeseries", unit: "none", queries: [
    ["slogate_evidence_log_e{slo=~\"$slo\"}", "{{instance}}, {{objective}}"]]},
  {title: "Samples judged", kind: "timeseries", unit: "short", queries: [
    ["sum by (slo, arm) (slogate_evidence_samples{slo=~\"$slo\"})", "{{slo}}, {{arm}}"]]}
];

# A workload is a container of a pod or, elsewhere, a cgroup; the labels of the other are empty.
def these: "cgroup=~\"$cgroup\", namespace=~\"$namespace\", pod=~\"$pod\"";
def by: "cgroup, namespace, pod, container";
def whose: "{{cgroup}}{{pod}} {{container}}";
def rate($metric): "rate(\($metric){\(these)}[$__rate_interval])";
# 0, not absent, where nothing failed or nothing was tried.
def share($events; $others):
  "sum by (\(by)) (\(rate($events))) / (sum by (\(by)) (\(rate($events)) or \(rate($others))) > 0) or 0 * sum by (\(by)) (\(rate($others)))";

def workloads: [
  {title: "Requests", kind: "timeseries", unit: "reqps", queries: [
    ["histogram_count(\(rate("slogate_request_duration_seconds")))", "\(whose), {{role}}"]]},
  {title: "p99 of requests", kind: "timeseries", unit: "s", queries: [
    ["histogram_quantile(0.99, \(rate("slogate_request_duration_seconds"))) >= 0", "\(whose), {{role}}"]]},
  {title: "Requests in flight", kind: "timeseries", unit: "short", queries: [
    ["slogate_inflight_requests{\(these)}", "\(whose), {{role}}"]]},
  {title: "Answers by what they say, and requests without one", kind: "timeseries", unit: "reqps", queries: [
    ["sum by (\(by), role, outcome) (\(rate("slogate_answers_total"))) or 0 * sum by (\(by), role) (\(rate("slogate_unanswered_requests_total")))",
      "\(whose), {{role}} {{outcome}}"],
    ["sum by (\(by), role) (\(rate("slogate_unanswered_requests_total")))", "\(whose), {{role}} unanswered"]]},
  {title: "Share of the canary's requests whose outcome is known", kind: "timeseries", unit: "percentunit", queries: [
    ["slogate_evidence_outcomes_known_ratio{slo=~\"$slo\"}", "{{instance}}, {{slo}}"]]},
  {title: "Connection errors by kind, and clients that gave up", kind: "timeseries", unit: "cps", queries: [
    ["sum by (\(by), error) (\(rate("slogate_connection_errors_total")))",
      "\(whose), {{error}}"],
    ["sum by (\(by)) (\(rate("slogate_client_gone_total")))", "\(whose), client gone"]]},
  {title: "Drops by reason", kind: "timeseries", unit: "pps", queries: [
    ["sum by (\(by), reason) (\(rate("slogate_drops_total"))) or 0 * sum by (\(by)) (\(rate("slogate_segments_total")))",
      "\(whose) {{reason}}"]]},
  {title: "Share of connections that failed, of packets that were dropped", kind: "timeseries", unit: "percentunit", queries: [
    [share("slogate_connection_errors_total"; "slogate_used_connections_total"), "\(whose), failed"],
    [share("slogate_drops_total"; "slogate_segments_total"), "\(whose), dropped"]]},
  {title: "Request latency of all that is selected", kind: "heatmap", unit: "s", queries: [
    ["sum(rate(slogate_request_duration_seconds{role=\"server\", \(these)}[$__rate_interval]))", ""]]}
];

def agents: [
  {title: "Map pressure", kind: "timeseries", unit: "percentunit", queries: [
    ["slogate_bpf_map_pressure_ratio{map=~\"slogate_slab|slogate_index|slogate_node\"}", "{{instance}}, {{map}}"]]},
  {title: "Memory of maps", kind: "timeseries", unit: "bytes", queries: [
    ["sum by (instance) (slogate_bpf_map_bytes)", "{{instance}}"]]},
  {title: "Samples lost", kind: "timeseries", unit: "cps", queries: [
    ["sum by (instance, site) (rate(slogate_lost_samples_total[$__rate_interval]))", "{{instance}}, {{site}}"]]},
  {title: "Share of the node's CPUs, and the budget", kind: "timeseries", unit: "percentunit", queries: [
    ["slogate_cpu_ratio", "{{instance}}, {{part}}"],
    ["slogate_cpu_budget_ratio", "{{instance}}, budget"]]},
  {title: "Share of the connections that is watched", kind: "timeseries", unit: "percentunit", queries: [
    ["slogate_watched_connections_ratio", "{{instance}}"]]}
];

def datasource: {type: "prometheus", uid: "${datasource}"};

def options: {
  "state-timeline": {mergeValues: true, showValue: "always"},
  heatmap: {calculate: false, yAxis: {unit: "s"}, color: {mode: "scheme", scheme: "Oranges"}},
  timeseries: {legend: {displayMode: "list", placement: "bottom"}, tooltip: {mode: "multi"}}
};

def mappings: if .kind != "state-timeline" then [] else [{type: "value", options: {
  "-1": {text: "veto", color: "red"}, "0": {text: "hold", color: "yellow"}, "1": {text: "pass", color: "green"}}}] end;

def panel: {
  title, type: .kind, datasource: datasource, options: options[.kind],
  fieldConfig: {defaults: {unit, mappings: mappings}, overrides: []},
  targets: [.kind as $kind | .queries | to_entries[] | .key as $at | {
    refId: "ABC"[$at:$at + 1], datasource: datasource, expr: .value[0], legendFormat: .value[1],
    format: (if $kind == "heatmap" then "heatmap" else "time_series" end)}]
};

def section(name; rows): {type: "row", title: name, collapsed: false}, (rows[] | panel);

# Rows across, panels two abreast below them.
def place: reduce .[] as $panel ({y: 0, panels: []};
  if $panel.type == "row"
  then (if .half then .y += 8 else . end) | .half = false
    | .panels += [$panel + {gridPos: {h: 1, w: 24, x: 0, y: .y}}] | .y += 1
  else .panels += [$panel + {gridPos: {h: 8, w: 12, x: (if .half then 12 else 0 end), y: .y}}]
    | (if .half then .y += 8 else . end) | .half = (.half | not) end)
  | .panels;

def variable(name; query): {
  name: name, type: "query", datasource: datasource, query: query, refresh: 2, sort: 1,
  multi: true, includeAll: true, allValue: ".*", current: {text: "All", value: "$__all"}};

{
  title: "slogate", uid: "slogate", tags: ["slogate"], schemaVersion: 38, editable: true,
  refresh: "30s", time: {from: "now-1h", to: "now"}, timezone: "browser",
  templating: {list: [
    {name: "datasource", type: "datasource", query: "prometheus"},
    variable("slo"; "label_values(slogate_verdict, slo)"),
    variable("namespace"; "label_values(slogate_connections_total, namespace)"),
    variable("pod"; "label_values(slogate_connections_total{namespace=~\"$namespace\"}, pod)"),
    variable("cgroup"; "label_values(slogate_connections_total{role=\"server\"}, cgroup)")]},
  panels: [section("Verdict"; verdicts), section("Workloads"; workloads), section("Agents"; agents)]
    | place | to_entries | map(.value + {id: (.key + 1)})
}
