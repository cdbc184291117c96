// SPDX-License-Identifier: Apache-2.0
// usage: node chart.mjs text CHART [VALUES]    what its templates say with these values, JSON, over its own
//        node chart.mjs same ONE OTHER         whether two files of YAML are the same objects
// In a folder with the packages of package.json.
//
// No helm: what a template is made of is put in as text. So templates are held to the few forms below,
// in which nothing but the value can be meant; anything else is refused. Values are held against the chart's
// schema, as helm does.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import Ajv from "ajv";
import { parse, parseAllDocuments, stringify } from "yaml";

const fail = (text) => {
  console.error(text);
  process.exit(1);
};
const merge = (one, other) =>
  Object.fromEntries(
    [...new Set([...Object.keys(one), ...Object.keys(other)])].map((key) => {
      const [a, b] = [one[key], other[key]];
      const both = [a, b].every((v) => v && typeof v === "object" && !Array.isArray(v));
      return [key, both ? merge(a, b) : key in other ? b : a];
    }),
  );

const namespace = "slogate-system";
class Chart {
  constructor(folder, own) {
    this.folder = folder;
    const read = (name) => readFileSync(`${folder}/${name}`, "utf8");
    this.read = read;
    this.values = merge(parse(read("values.yaml")), own);
    const ajv = new Ajv({ strict: true, strictTypes: false, allErrors: true });
    const validate = ajv.compile(JSON.parse(read("values.schema.json")));
    if (!validate(this.values)) fail(`values: ${ajv.errorsText(validate.errors)}`);
  }
  // PATH below .Values; one that is not there is a mistake in the template.
  value(path) {
    return path.split(".").reduce((at, key) => {
      if (!(key in at)) fail(`there is no value ${path}`);
      return at[key];
    }, this.values);
  }
  yaml(path) {
    return stringify(this.value(path), { lineWidth: 0 }).trimEnd();
  }
  // Go's templates take for false what is empty.
  holds(path, equal) {
    const value = this.value(path);
    if (equal !== undefined) return value === equal;
    return value && typeof value === "object" ? Object.keys(value).length > 0 : Boolean(value);
  }
  forms = [
    [/\{\{ \.Release\.Namespace \}\}/g, () => namespace],
    [/\{\{ \.Values\.([\w.]+) \}\}/g, (_, path) => String(this.value(path))],
    [
      /\{\{ toYaml \.Values\.([\w.]+) \| sha256sum \}\}/g,
      (_, path) => createHash("sha256").update(this.yaml(path)).digest("hex"),
    ],
    [
      /^ +\{\{- toYaml \.Values\.([\w.]+) \| nindent (\d+) \}\}$/g,
      (_, path, by) => this.yaml(path).replace(/^/gm, " ".repeat(by)),
    ],
    [
      /^\{\{-? \.Files\.Get "([\w.-]+)" \| replace "slogate-system" \.Release\.Namespace \}\}$/g,
      // Not by the forms: what a file says is no template.
      (_, name) => this.read(name).replaceAll("slogate-system", namespace).replaceAll("{{", "\0"),
    ],
  ];
  line(text, where) {
    const made = this.forms.reduce((line, [form, by]) => line.replace(form, by), text);
    if (made.includes("{{")) fail(`${where}: of no known form: ${text}`);
    return made.replaceAll("\0", "{{");
  }
  template(name) {
    const kept = [];
    const made = [];
    for (const text of this.read(`templates/${name}`).split("\n")) {
      const begin = /^ *\{\{- if (?:eq )?\.Values\.([\w.]+)(?: "(\w+)")? \}\}$/.exec(text);
      if (begin) kept.push(this.holds(begin[1], begin[2]));
      else if (/^ *\{\{- end \}\}$/.test(text)) kept.length ? kept.pop() : fail(`${name}: an end too many`);
      else if (kept.every(Boolean)) made.push(this.line(text, name));
      else this.line(text, name); // what is left out is held to the forms, too
    }
    if (kept.length) fail(`${name}: an end is missing`);
    return made.join("\n");
  }
  text() {
    const names = readdirSync(`${this.folder}/templates`);
    this.template("NOTES.txt");
    return names.filter((name) => name.endsWith(".yaml")).map((name) => this.template(name));
  }
}

// Objects by kind and name. What the two ways do differently is not compared: kustomize says the namespace in
// every object and a hash in the name of a ConfigMap, the chart a checksum in an annotation.
const objects = (file) =>
  Object.fromEntries(
    parseAllDocuments(readFileSync(file, "utf8"))
      .map((document) => (document.errors.length ? fail(`${file}: ${document.errors[0]}`) : document.toJSON()))
      .filter(Boolean)
      .map((object) => {
        delete object.metadata.namespace;
        const name = (text) => text.replace(/^slogate-[a-z0-9]{10}$/, "slogate");
        const pod = object.spec?.template;
        if (object.kind === "ConfigMap") {
          object.metadata.name = name(object.metadata.name);
          object.data["slogate.yaml"] = parse(object.data["slogate.yaml"]);
        }
        if (pod) {
          delete pod.metadata.annotations?.["checksum/config"];
          if (!Object.keys(pod.metadata.annotations ?? {}).length) delete pod.metadata.annotations;
          // A patch of kustomize's puts its entries first; the order of what has names means nothing.
          const named = (list) => list.sort((a, b) => (a.name < b.name ? -1 : 1));
          named(pod.spec.volumes);
          for (const { ports, volumeMounts } of pod.spec.containers) named(ports) && named(volumeMounts);
          for (const { configMap } of pod.spec.volumes) if (configMap) configMap.name = name(configMap.name);
        }
        return [`${object.kind} ${object.metadata.name}`, object];
      }),
  );

const [verb, one, other] = process.argv.slice(2);
if (verb === "text") {
  console.log(new Chart(one, JSON.parse(other ?? "{}")).text().join("\n---\n"));
} else {
  const [a, b] = [objects(one), objects(other)];
  const different = Object.keys({ ...a, ...b }).filter((key) => !isDeepStrictEqual(a[key], b[key]));
  if (different.length) fail(`different: ${different.join(", ")}`);
  console.log(Object.keys(a).join(", "));
}
