// Compiles each schema with Ajv's strict mode on and every warning an error; prints the names of those that are good.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import Ajv from "ajv/dist/2020.js";

const refuse = (message) => {
  throw new Error(message);
};
for (const file of process.argv.slice(2)) {
  const ajv = new Ajv.default({
    strict: true,
    strictTypes: true,
    strictRequired: true,
    strictTuples: true,
    allErrors: true,
    logger: { log() {}, warn: refuse, error: refuse },
  });
  ajv.compile(JSON.parse(readFileSync(file, "utf-8")));
  console.log(basename(file));
}
