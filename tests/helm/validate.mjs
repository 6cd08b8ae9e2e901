// Reads a JSON list of custom resources, writes a JSON list of what their operators' schemas say against them.
import { readFileSync } from "node:fs";

const packages = { "cert-manager.io": "cert-manager", "monitoring.coreos.com": "prometheus-operator" };

async function problems({ apiVersion, kind, ...rest }) {
  try {
    const home = `@kubernetes-models/${packages[apiVersion.split("/")[0]]}`;
    const { [kind]: Model } = await import(`${home}/${apiVersion}/${kind}`);
    new Model({ apiVersion, kind, ...rest }).validate();
    return [];
  } catch (error) {
    return [`${kind} ${rest.metadata.name}: ${error.message}`];
  }
}

const resources = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify((await Promise.all(resources.map(problems))).flat()));
