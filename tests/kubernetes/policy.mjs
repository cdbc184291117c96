// SPDX-License-Identifier: Apache-2.0
// usage: node policy.mjs FILE    in a folder with the packages of package.json.
//
// Tries the ValidatingAdmissionPolicy in a YAML file on requests as an API server would hand them over,
// with an evaluator of CEL: it shows what the policy says, not that a server takes it. Exit 1 where a
// request meets another answer than it should, or a rule of the policy changes no answer at all.
import { celEnv, parse, plan } from "@bufbuild/cel";
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";

const documents = parseAllDocuments(readFileSync(process.argv[2], "utf8")).map((one) => one.toJSON());
const policy = documents.find((one) => one?.kind === "ValidatingAdmissionPolicy").spec;
const binding = documents.find((one) => one?.kind === "ValidatingAdmissionPolicyBinding").spec;

const env = celEnv();
const evaluate = (expression, bindings) => plan(env, parse(expression))(bindings);

// The message of the first rule that says no; "" for a request that is let through.
function refusal(request, validations) {
  if (!policy.matchConditions.every(({ expression }) => evaluate(expression, request) === true)) return "";
  const variables = {};
  for (const { name, expression } of policy.variables)
    variables[name] = evaluate(expression, { ...request, variables });
  for (const { expression, message } of validations) {
    const answer = evaluate(expression, { ...request, variables });
    if (typeof answer !== "boolean") throw new Error(`${message}: ${answer}`);
    if (!answer) return message;
  }
  return "";
}

const ready = { type: "Ready", status: "True" };
const ours = { type: "slogate.io/slo", status: "False", reason: "Vetoed" };
const pod = {
  metadata: { name: "web-1", labels: { app: "web" }, annotations: { note: "x" }, managedFields: [] },
  spec: { nodeName: "node-a" },
  status: { phase: "Running", podIP: "10.0.0.1", containerStatuses: [{ name: "app", ready: true }], conditions: [ready] },
};
const changed = (change) => {
  const copy = structuredClone(pod);
  change(copy);
  return copy;
};
const user = (node, username = "system:serviceaccount:slogate-system:slogate") => ({
  username,
  extra: node ? { "authentication.kubernetes.io/node-name": [node] } : {},
});
const with_ours = changed((one) => one.status.conditions.push(ours));

// What is tried, what the pod is afterwards and before, who asks, and what of the message there must be.
const tries = [
  ["our condition for the first time", with_ours, pod, user("node-a"), ""],
  ["our condition once more", changed((one) => one.status.conditions.push({ ...ours, status: "True" })), with_ours, user("node-a"), ""],
  ["another of our conditions", changed((one) => one.status.conditions.push({ type: "slogate.io/warm", status: "True" })), pod, user("node-a"), ""],
  ["the only condition of a pod", changed((one) => (one.status = { conditions: [ours] })), changed((one) => delete one.status), user("node-a"), ""],
  ["who else wrote in its managed fields", changed((one) => { one.metadata.managedFields.push({}); one.status.conditions.push(ours); }), pod, user("node-a"), ""],
  ["a pod of another node", with_ours, pod, user("node-b"), "its own node"],
  ["a pod of no node yet", changed((one) => delete one.spec.nodeName), changed((one) => delete one.spec.nodeName), user("node-a"), "its own node"],
  ["by a token of no pod", with_ours, pod, user(undefined), "its own node"],
  ["a pod of no node by a token of no pod", changed((one) => (one.spec.nodeName = "")), pod, user(undefined), "its own node"],
  ["the kubelet's condition", changed((one) => (one.status.conditions[0].status = "False")), pod, user("node-a"), "conditions of its own"],
  ["a condition of somebody else", changed((one) => one.status.conditions.push({ type: "example.com/x", status: "True" })), pod, user("node-a"), "conditions of its own"],
  ["without the kubelet's condition", changed((one) => (one.status.conditions = [ours])), pod, user("node-a"), "conditions of its own"],
  ["a condition like ours", changed((one) => one.status.conditions.push({ type: "slogate.iox/slo", status: "True" })), pod, user("node-a"), "conditions of its own"],
  ["the pod's address", changed((one) => (one.status.podIP = "10.0.0.2")), pod, user("node-a"), "nothing of a status"],
  ["a container's state", changed((one) => (one.status.containerStatuses[0].ready = false)), pod, user("node-a"), "nothing of a status"],
  ["a field more", changed((one) => (one.status.hostIP = "10.0.0.9")), pod, user("node-a"), "nothing of a status"],
  ["a field less", changed((one) => delete one.status.phase), pod, user("node-a"), "nothing of a status"],
  ["a label", changed((one) => (one.metadata.labels.app = "other")), pod, user("node-a"), "neither labels"],
  ["without labels", changed((one) => delete one.metadata.labels), pod, user("node-a"), "neither labels"],
  ["an annotation", changed((one) => (one.metadata.annotations["slogate.io/slo"] = "x")), pod, user("node-a"), "neither labels"],
  ["a finalizer", changed((one) => (one.metadata.finalizers = ["x/y"])), pod, user("node-a"), "neither labels"],
  ["the kubelet's own writes", changed((one) => (one.status.podIP = "10.0.0.2")), pod, user(undefined, "system:node:node-b"), ""],
];

let failed = false;
const complain = (text) => {
  failed = true;
  console.log(`bad: ${text}`);
};
if (binding.validationActions.join() !== "Deny" || policy.failurePolicy !== "Fail")
  complain("the policy lets through what it refuses");
const outcomes = (validations) =>
  tries.map(([, object, oldObject, userInfo]) => refusal({ object, oldObject, request: { userInfo } }, validations));
const answers = outcomes(policy.validations);
tries.forEach(([what, , , , expected], number) => {
  const met = expected === "" ? answers[number] === "" : answers[number].includes(expected);
  if (!met) complain(`${what}: "${answers[number]}", not "${expected}"`);
});
// Each rule refuses something that no other one does.
for (const rule of policy.validations) {
  const without = outcomes(policy.validations.filter((one) => one !== rule));
  if (without.every((answer, number) => (answer === "") === (answers[number] === "")))
    complain(`nothing shows that this is needed: ${rule.message}`);
}
console.log(`${tries.length} requests, ${answers.filter((one) => one !== "").length} of them refused`);
process.exit(failed ? 1 : 0);
