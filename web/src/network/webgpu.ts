/**
 * Running the networks on the graphics card, where its answers are those of the processor.
 *
 * Drivers differ, so each network first answers a small made-up window on both. Only if they agree
 * is the graphics card used.
 */

import { WeightsError } from "../errors";
import { Field } from "../image/field";
import type { Shape } from "../image/grid";
import { configure, type Engine, makeEngine, type Runtime, type RuntimeFiles } from "./engine";
import { rewrite } from "./graph";
import type { Stage } from "./weights";

/** Most that the logits of the two may differ by: a hundredth moves a probability by 0.0025 at most. */
export const MAX_DIFFERENCE = 0.01;

const CHECK_SHAPE: Shape = [16, 16, 32];

/** Load the runtime for graphics cards. */
export async function loadWebgpu(files: RuntimeFiles): Promise<Runtime> {
  const { gpu } = navigator as { gpu?: { requestAdapter: () => Promise<unknown> } };
  if (!gpu || !(await gpu.requestAdapter())) throw new WeightsError("this browser offers none to pages (no WebGPU).");
  const runtime = (await import("onnxruntime-web/webgpu")) as Runtime;
  configure(files, 1, runtime);
  return runtime;
}

/** Make a network ready to run on the graphics card, if its answer to the check is right. */
export async function makeWebgpuEngine(stage: Stage, webgpu: Runtime): Promise<Engine> {
  const write = (shape: Shape, forWebgpu: boolean): Stage => ({
    ...stage,
    onnx: rewrite(stage.onnx, shape, stage.outputs.length, forWebgpu),
  });
  const image = makeCheckImage();
  const wanted = await (await makeEngine(write(CHECK_SHAPE, false)))(image);
  const found = await (await makeEngine(write(CHECK_SHAPE, true), webgpu))(image);
  checkAnswers(stage.name, found, wanted);
  const engine = await makeEngine(write(stage.window.shape, true), webgpu);
  return (window) =>
    engine(window).catch((error: Error) => {
      throw new WeightsError(`the graphics card has failed (${error.message}). Turn it off below, under Speed, and try again.`);
    });
}

/** A window with edges, slopes and texture, as a normalised head has them. */
function makeCheckImage(): Field {
  const [nx, ny, nz] = CHECK_SHAPE;
  const image = new Field(new Float32Array(nx * ny * nz), CHECK_SHAPE);
  image.forEach((place) => {
    const at = [place % nx, Math.floor(place / nx) % ny, Math.floor(place / (nx * ny))].map((k, axis) => k / CHECK_SHAPE[axis]! - 0.5);
    const radius = Math.hypot(...at);
    image.values[place] = (radius < 0.3 ? 1 : radius < 0.4 ? -0.5 : -1.5) + 0.3 * Math.sin(place * 0.7) + at[1]!;
  });
  return image;
}

/** Refuse answers that differ from those of the processor. */
export function checkAnswers(name: string, found: readonly Field[], wanted: readonly Field[]): void {
  let worst = 0;
  wanted.forEach((channel, k) => {
    const [one, other] = [channel.copy().values, found[k]!.copy().values];
    one.forEach((value, i) => {
      const difference = Math.abs(value - other[i]!);
      if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference; // NaN is no answer
    });
  });
  if (worst <= MAX_DIFFERENCE) return;
  throw new WeightsError(
    `its answer to the check of network "${name}" differs from the processor's by ${worst.toPrecision(2)}; ` +
      `expected at most ${MAX_DIFFERENCE}.`,
  );
}
