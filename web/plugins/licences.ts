/** Writes the licences of the libraries that are built into the page beside it. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Plugin } from "vite";

const ROOT = join(import.meta.dirname, "..");
const LIBRARIES = ["onnxruntime-web", "@niivue/niivue", "@niivue/dcm2niix", "fflate", "@noble/hashes"];
const NAMES = ["LICENSE", "LICENSE.txt", "LICENSE.md", "license.txt"];

function describe(library: string): string {
  const folder = join(ROOT, "node_modules", library);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf-8")) as Record<string, string>;
  const file = NAMES.map((name) => join(folder, name)).find(existsSync);
  const words = file ? readFileSync(file, "utf-8") : `Licence: ${about.license}`;
  return `${library} ${about.version} (${about.license})\n\n${words.trim()}\n`;
}

export function licences(): Plugin {
  return {
    name: "deskull-licences",
    generateBundle() {
      const source = LIBRARIES.map(describe).join(`\n${"=".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}
