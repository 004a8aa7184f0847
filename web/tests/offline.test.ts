/** What the service worker keeps of the page, and when it takes over. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { transformWithOxc } from "vite";
import { expect, it, vi } from "vitest";

import { noteTouch } from "../src/page/offline";

const SCRIPT = join(import.meta.dirname, "../src/service-worker.ts");

class Asked {
  constructor(
    readonly url: string,
    readonly options: RequestInit,
  ) {}
}

/** The service worker in a scope of the tests, where older caches are and perhaps an older page. */
async function start({ place = "https://x/", active = null as object | null, names = [] as string[] } = {}) {
  const files = JSON.stringify({ version: "1", files: ["main.js"], later: [] });
  const { code } = await transformWithOxc(readFileSync(SCRIPT, "utf-8").replace("__FILES__", files), SCRIPT);
  const acts: Record<string, (event: object) => void> = {};
  const skipWaiting = vi.fn(async () => undefined);
  const registration = { active, scope: place };
  const clients = { claim: async () => undefined };
  const scope = { addEventListener: (name: string, act: () => void) => (acts[name] = act), skipWaiting, registration, clients };
  const kept: Asked[] = [];
  const open = async (name: string) => (names.push(name), { addAll: async (requests: Asked[]) => void kept.push(...requests) });
  const caches = { open, keys: async () => [...names], delete: async (name: string) => void names.splice(names.indexOf(name), 1) };
  new Function("self", "caches", "Request", code)(scope, caches, Asked);
  const tell = (name: string) => new Promise((resolve) => acts[name]!({ waitUntil: (done: Promise<unknown>) => void done.then(resolve) }));
  return { tell, kept, names, skipWaiting };
}

it("takes the page from the server, not from what the browser has kept of an older one", async () => {
  const { tell, kept } = await start();
  await tell("install");
  expect(kept.map(({ url }) => url)).toEqual(["./", "./main.js"]);
  expect(kept.map(({ options }) => options.cache)).toEqual(["reload", "reload"]);
});

it("takes over at the first visit, but from no page that is open with older files", async () => {
  for (const [active, times] of [[null, 1], [{}, 0]] as const) {
    const { tell, skipWaiting } = await start({ active });
    await tell("install");
    expect(skipWaiting).toHaveBeenCalledTimes(times);
  }
});

it("throws away its own older files, and nothing of another copy of the page", async () => {
  const place = "https://x/";
  const others = ["deskull https://x/new/ 0", "other"];
  const { tell, names } = await start({ place, names: ["deskull https://x/ 0", ...others] });
  await tell("install");
  await tell("activate");
  expect(names).toEqual([...others, "deskull https://x/ 1"]);
});

it.each(["pointerdown", "click", "keydown", "drop"])("loads nothing anew once somebody has begun to use the page (%s)", (kind) => {
  const page = new EventTarget();
  const isUntouched = noteTouch(page);
  page.dispatchEvent(new Event("pointermove"));
  expect(isUntouched()).toBe(true);
  page.dispatchEvent(new Event(kind));
  expect(isUntouched()).toBe(false);
});
