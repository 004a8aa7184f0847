/**
 * Running a network: ONNX Runtime as WebAssembly, with as many threads as the browser allows.
 *
 * An engine takes a normalised window (X, Y, Z) and gives the logits of each output; it knows
 * nothing of scans.
 */

import * as ort from "onnxruntime-web/wasm";

import { WeightsError } from "../errors";
import { Field } from "../image/field";
import type { Stage } from "./weights";

export type Engine = (image: Field) => Promise<Field[]>;

/** The runtime, of which there is a second build for graphics cards. */
export type Runtime = typeof ort;

/** Addresses of a runtime's own files. */
export interface RuntimeFiles {
  mjs: string;
  wasm: string;
}

export const RUNTIME = `onnxruntime-web ${ort.env.versions.web}`;

/** Where the runtime's own files lie, and how many threads it may use. */
export function configure(files: RuntimeFiles | null, threads: number, runtime: Runtime = ort): void {
  runtime.env.wasm.numThreads = threads;
  runtime.env.logLevel = "error";
  if (files) runtime.env.wasm.wasmPaths = files;
}

/** Make a network ready to run: on the processor, or on the graphics card by a runtime that can. */
export async function makeEngine(stage: Stage, webgpu: Runtime | null = null): Promise<Engine> {
  const runtime = webgpu ?? ort;
  const options = { executionProviders: [webgpu ? "webgpu" : "wasm"], graphOptimizationLevel: "all" } as const;
  let session: ort.InferenceSession;
  try {
    session = await runtime.InferenceSession.create(stage.onnx, options);
  } catch (error) {
    throw new WeightsError(`network "${stage.name}": the browser cannot run it (${(error as Error).message}). Try another browser.`);
  }
  return async (image) => {
    const tensor = new runtime.Tensor("float32", toTensorOrder(image), [1, 1, ...image.shape]);
    const answer = Object.values(await session.run({ image: tensor }))[0]!;
    const values = (await answer.getData()) as Float32Array;
    return stage.outputs.map((_, channel) => fromTensorOrder(values, channel, image));
  };
}

/** Tensors have the last axis run fastest. */
function toTensorOrder(image: Field): Float32Array {
  return image.permute([2, 1, 0]).copy().values;
}

function fromTensorOrder(values: Float32Array, channel: number, { shape, size }: Field): Field {
  const [, ny, nz] = shape;
  return new Field(values, shape, [ny * nz, nz, 1], channel * size);
}
