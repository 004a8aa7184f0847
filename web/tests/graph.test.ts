/** The network written for WebGPU: the same answers as the package's own file, by the runtime of the command line. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { Field } from "../src/image/field";
import { rewrite } from "../src/network/graph";
import { GRAPH, Message, MODEL, NODE } from "../src/network/onnx";
import { checkAnswers, MAX_DIFFERENCE } from "../src/network/webgpu";
import { loadWeights } from "../src/network/weights";

const WEIGHTS = join(import.meta.dirname, "../../src/deskull/weights/default");
const weights = await loadWeights("default", async (name) => Uint8Array.from(readFileSync(join(WEIGHTS, name))));
const COMPARE = `
import json, sys
import numpy as np, onnx, onnxruntime
answers = []
for path in sys.argv[1:]:
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).normal(size=session.get_inputs()[0].shape).astype(np.float32)
    answers.append(session.run(None, {"image": image})[0])
one, other = answers
print(json.dumps([one.shape, float(np.abs(one - other).max()), float(np.ptp(one))]))
`;

/** Shape and range of the answer of one network, and how much another's differs. */
function compare(files: readonly Uint8Array[]): [shape: number[], difference: number, range: number] {
  const folder = mkdtempSync(join(tmpdir(), "deskull-web-"));
  const paths = files.map((_, k) => join(folder, `${k}.onnx`));
  files.forEach((bytes, k) => writeFileSync(paths[k]!, bytes));
  const said = execFileSync(process.env.PYTHON ?? "python3", ["-c", COMPARE, ...paths], { encoding: "utf-8" });
  rmSync(folder, { recursive: true });
  return JSON.parse(said);
}

describe.each([weights.segment, weights.locate!])("$name", ({ onnx, outputs, window }) => {
  const write = (shape: number[], forWebgpu: boolean) => rewrite(onnx, shape, outputs.length, forWebgpu);
  const list = (file: Uint8Array) => Message.read(file).messages(MODEL.graph)[0]!.messages(GRAPH.node);

  it("gives the same answer as the package's file", () => {
    const [shape, difference, range] = compare([onnx, write(window.shape, true)]);
    expect(shape).toEqual([1, outputs.length, ...window.shape]);
    expect(difference).toBeLessThan(1e-4);
    expect(range).toBeGreaterThan(1); // so that the check can fail
  });

  it("gives the same answer for a small window of unequal sides", () => {
    const [shape, difference, range] = compare([write([16, 32, 48], false), write([16, 32, 48], true)]);
    expect(shape).toEqual([1, outputs.length, 16, 32, 48]);
    expect(difference).toBeLessThan(1e-4);
    expect(range).toBeGreaterThan(1);
  });

  it("has no transposed convolution left", () => {
    const ops = (file: Uint8Array) => list(file).map((node) => node.texts(NODE.op)[0]);
    expect(ops(onnx)).toContain("ConvTranspose");
    expect(ops(write(window.shape, true))).not.toContain("ConvTranspose");
  });
});

it("is read and written without a change", () => {
  const { onnx } = weights.locate!;
  expect(Message.read(onnx).write()).toEqual(onnx);
});

it.each([
  ["far off", 1],
  ["a little off", 1.1 * MAX_DIFFERENCE],
  ["no number", NaN],
])("refuses a graphics card whose answer is %s", (_, difference) => {
  const make = (values: number[]) => [new Field(Float32Array.from(values), [1, 1, 2]), new Field(Float32Array.from(values), [1, 1, 2])];
  const wanted = make([-3, 4]);
  const found = make([-3, 4]);
  expect(() => checkAnswers("segment", found, wanted)).not.toThrow();
  found[1]!.values[0]! += difference;
  expect(() => checkAnswers("segment", found, wanted)).toThrow(/network "segment" differs from the processor's by .*expected at most 0.01/);
});
