/** What the page keeps: the queue of scans, what undo goes back to, weights that are what their card says. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, it } from "vitest";

import { loadWeights } from "../src/network/weights";
import { describeState, Queue } from "../src/page/queue";

const WEIGHTS = join(import.meta.dirname, "../../src/deskull/weights/default");
const read = async (name: string) => Uint8Array.from(readFileSync(join(WEIGHTS, name)));
const item = (name: string) => ({ name, files: [], isDicom: false });

it("takes scans in their order, and first the one that is wanted", () => {
  const queue = new Queue();
  const [a, b, c] = queue.add(["a.nii", "b.nii", "c.nii"].map(item));
  queue.want(c!);
  expect(queue.takeNext()).toBe(c);
  c!.state = "done";
  expect(queue.takeNext()).toBe(a);
  a!.state = "failed";
  expect(queue.takeNext()).toBe(b);
  b!.state = "stopped";
  expect(queue.takeNext()).toBeNull();
  queue.want(a!);
  expect(queue.takeNext()).toBe(a);
  expect(queue.done).toEqual([c]);
  expect([describeState(a!), describeState(b!)]).toEqual(["waiting", "stopped"]);
});

it("gives each scan's files a name of their own", () => {
  const queue = new Queue();
  const [a, b] = queue.add([item("x.nii"), item("x.nii")]);
  b!.frame = 3;
  expect(queue.nameFiles(a!, "x")).toBe("x");
  expect(queue.nameFiles(b!, "x")).toBe("x_frame-3_2");
});

it("gives one scan's settings to all but mended ones, and to those added later", () => {
  const queue = new Queue();
  const [a, b, c, d] = queue.add(["a.nii", "b.nii", "c.nii", "d.nii"].map(item));
  for (const entry of [a!, b!, c!]) Object.assign(entry, { state: "done", outputs: { mask: new Blob() } });
  c!.isMended = true;
  a!.settings = { threshold: 0.4, border: 1, csf: false };
  expect(queue.spread(a!.settings, a!)).toEqual({ changed: [b, d], mended: [c] });
  expect([a, b, c, d].map((entry) => entry!.state)).toEqual(["done", "waiting", "done", "waiting"]);
  expect([b!.settings, b!.outputs, c!.settings.threshold]).toEqual([a!.settings, {}, 0.5]);
  expect(queue.add([item("e.nii")])[0]!.settings).toEqual(a!.settings);
  expect(queue.spread(a!.settings, a!).changed).toEqual([]);
});

it("loads the package's own weights", async () => {
  const weights = await loadWeights("default", read);
  expect(weights.segment.outputs[0]).toBe("brain");
  expect(weights.locate?.window.shape).toHaveLength(3);
});

it("refuses weights that have changed", async () => {
  const change = async (name: string) => {
    const bytes = await read(name);
    if (name === "segment.onnx") bytes[100]! ^= 1;
    return bytes;
  };
  await expect(loadWeights("default", change)).rejects.toThrow(/segment.onnx: SHA-256 .*damaged or changed/);
});
