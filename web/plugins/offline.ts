/** Tells the service worker which files the page is made of, and when they have changed. */

import { createHash } from "node:crypto";

import type { Plugin } from "vite";

const SCRIPT = "service-worker.js";
const PLACE = "__FILES__";
const LATER = /asyncify|ort\.webgpu/; // large, and of use to few: kept when they are first used

export function offline(publicFiles: readonly string[]): Plugin {
  return {
    name: "deskull-offline",
    enforce: "post",
    generateBundle(_, bundle) {
      const hash = createHash("sha256");
      const files = [...publicFiles];
      for (const [name, file] of Object.entries(bundle).sort(([a], [b]) => a.localeCompare(b))) {
        if (name === SCRIPT || name.endsWith(".map")) continue;
        files.push(name);
        hash.update(name).update(file.type === "chunk" ? file.code : file.source);
      }
      const script = bundle[SCRIPT];
      if (script?.type !== "chunk" || !script.code.includes(PLACE)) this.error(`${SCRIPT} has no ${PLACE}`);
      const [first, later] = [files.filter((name) => !LATER.test(name)), files.filter((name) => LATER.test(name))];
      const list = JSON.stringify({ version: hash.digest("hex").slice(0, 16), files: first, later });
      script.code = script.code.replace(PLACE, list);
    },
  };
}
