// SPDX-License-Identifier: Apache-2.0
// usage: node schema.mjs FILE...    in a folder with the packages of package.json.
//
// Holds each object of the YAML files against the schema its project publishes, in two ways: its
// validator knows values, and TypeScript's compiler knows which fields there are. Prints a line per
// object; exit 1 where one is bad, 0 where all that have a schema are good.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";

const packages = [
  "kubernetes-models",
  "@kubernetes-models/prometheus-operator",
  "@kubernetes-models/argo-rollouts",
];
let failed = false;
let typed = "";
const say = (verdict, object, why = "") =>
  console.log(`${verdict} ${object.apiVersion} ${object.kind} ${object.metadata?.name}${why}`);

const objects = process.argv
  .slice(2)
  .flatMap((file) => parseAllDocuments(readFileSync(file, "utf8")))
  .map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJSON();
  })
  .filter((object) => object !== null);

for (const [number, object] of objects.entries()) {
  const path = `${object.apiVersion}/${object.kind}`;
  const owner = packages.find((name) => existsSync(`node_modules/${name}/${path}.d.ts`));
  if (!owner) {
    say("no schema:", object);
    continue;
  }
  try {
    const model = (await import(`${owner}/${path}`))[object.kind];
    new model(object).validate();
    say("good:", object);
  } catch (error) {
    failed = true;
    say("bad:", object, `: ${error.message}`);
  }
  const type = `Type${number}`;
  typed += `import { I${object.kind} as ${type} } from "${owner}/${path}";\n`;
  typed += `export const value${number}: ${type} = ${JSON.stringify(object, null, 1)};\n`;
}

writeFileSync("typed.ts", typed);
const options =
  "--noEmit --strict --skipLibCheck --module nodenext --moduleResolution nodenext --target es2022";
try {
  execFileSync("node_modules/.bin/tsc", [...options.split(" "), "typed.ts"], { stdio: "pipe" });
} catch (error) {
  failed = true;
  console.log(`bad: ${error.stdout}${error.stderr}`);
}
process.exit(failed ? 1 : 0);
