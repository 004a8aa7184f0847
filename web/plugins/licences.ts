/** Writes the licences of the libraries that are built into the page beside it. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Plugin } from "vite";

const ROOT = join(import.meta.dirname, "..");

/** Libraries that bring their licence; those of the others lie in `licences/`, and NiiVue's beside the viewer. */
const LIBRARIES = ["fflate", "@noble/hashes"];

function read(path: string): string {
  return readFileSync(path, "utf-8").trim();
}

function collect(): string[] {
  const own = readdirSync(join(ROOT, "licences")).sort();
  const niivue = join(ROOT, "../src/deskull/review/static/niivue.LICENSES.txt");
  return [
    ...own.map((name) => `${name.replace(/\.txt$/, "")}\n\n${read(join(ROOT, "licences", name))}`),
    ...LIBRARIES.map((name) => `${name}\n\n${read(join(ROOT, "node_modules", name, "LICENSE"))}`),
    `NiiVue and what is built into it\n\n${read(niivue)}`,
  ];
}

export function licences(): Plugin {
  return {
    name: "deskull-licences",
    generateBundle() {
      const source = `${collect().join(`\n\n${"=".repeat(80)}\n\n`)}\n`;
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}
