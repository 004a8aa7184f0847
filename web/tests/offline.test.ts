/** What the service worker keeps of the page. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { transformWithOxc } from "vite";
import { expect, it } from "vitest";

const SCRIPT = join(import.meta.dirname, "../src/service-worker.ts");

class Asked {
  constructor(
    readonly url: string,
    readonly options: RequestInit,
  ) {}
}

it("takes the page from the server, not from what the browser has kept of an older one", async () => {
  const files = JSON.stringify({ version: "1", files: ["main.js"], later: [] });
  const { code } = await transformWithOxc(readFileSync(SCRIPT, "utf-8").replace("__FILES__", files), SCRIPT);
  const acts: Record<string, (event: object) => void> = {};
  const scope = { addEventListener: (name: string, act: () => void) => (acts[name] = act), skipWaiting: async () => undefined };
  const kept: Asked[] = [];
  const caches = { open: async () => ({ addAll: async (requests: Asked[]) => void kept.push(...requests) }) };
  new Function("self", "caches", "Request", code)(scope, caches, Asked);
  await new Promise((resolve) => acts.install!({ waitUntil: (done: Promise<unknown>) => void done.then(resolve) }));
  expect(kept.map(({ url }) => url)).toEqual(["./", "./main.js"]);
  expect(kept.map(({ options }) => options.cache)).toEqual(["reload", "reload"]);
});
