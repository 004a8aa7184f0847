/** What the page keeps: the queue of scans, what undo goes back to, weights that are what their card says. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, it } from "vitest";

import { loadWeights } from "../src/network/weights";
import { readDrop } from "../src/page/drop";
import { describeState, nameFiles, Queue } from "../src/page/queue";

const WEIGHTS = join(import.meta.dirname, "../../src/deskull/weights/default");
const read = async (name: string) => Uint8Array.from(readFileSync(join(WEIGHTS, name)));
const item = (name: string) => ({ name, files: [], isDicom: false });

it("takes scans in their order, and first the one that is wanted", () => {
  const queue = new Queue();
  const [a, b, c] = queue.add(["a.nii", "b.nii", "c.nii"].map(item));
  queue.want(c!);
  expect(queue.takeNext()).toBe(c);
  Object.assign(c!, { state: "done", ml: 1 });
  expect(queue.takeNext()).toBe(a);
  a!.state = "failed";
  expect(queue.takeNext()).toBe(b);
  b!.state = "stopped";
  expect(queue.takeNext()).toBeNull();
  queue.want(a!);
  expect(queue.takeNext()).toBe(a);
  expect(queue.filled).toEqual([c]);
  expect([describeState(a!), describeState(b!)]).toEqual(["waiting", "stopped"]);
});

it("gives each scan's files a name of their own", () => {
  const queue = new Queue();
  const names = ["x.nii", "x.nii", "x_2.nii", "T1.mgz", "t1.nii.gz", "p.nii", "p_frame-1.nii"];
  const entries = queue.add(names.map(item));
  entries[1]!.frame = 3;
  entries[5]!.frame = 1;
  expect(entries.map(nameFiles)).toEqual(["x", "x_2_frame-3", "x_2_2", "T1", "t1_2", "p_frame-1", "p_frame-1_2"]);
  expect(queue.add([item("x.nii.gz")]).map(nameFiles)).toEqual(["x_3"]);
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

it("says of a drop that cannot be read, or holds no file, what to do", async () => {
  const drop = (entry: object | null) => readDrop([{ webkitGetAsEntry: () => entry } as DataTransferItem]);
  const file = (_: unknown, reject: (error: Error) => void) => reject(new Error("gone"));
  await expect(drop({ isFile: true, file })).rejects.toThrow("What was dropped cannot be read (gone). Choose the files with the button.");
  await expect(drop(null)).rejects.toThrow("There is no file in what was dropped. Choose the files with the button.");
});
