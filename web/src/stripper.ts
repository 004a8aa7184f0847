/**
 * The main job, top to bottom: a scan in, its brain out.
 *
 * locate the brain -> conform -> normalise -> segment -> back to native space -> clean -> border.
 * What each step does is in `prepare/` and `network/`; what comes out is `result.ts`.
 */

import { EmptyMaskError, WeightsError } from "./errors";
import type { Triple } from "./image/affine";
import { type Field, select } from "./image/field";
import type { Grid } from "./image/grid";
import type { Volume } from "./image/volume";
import { measureTraits } from "./measure/traits";
import { type Engine, makeEngine, type Runtime } from "./network/engine";
import { makeWebgpuEngine } from "./network/webgpu";
import type { Stage, Weights } from "./network/weights";
import { conform, type Extent, findHeadCentres, makeWindow, measureExtent, toNative } from "./prepare/conform";
import { makeFinite, normalise } from "./prepare/intensity";
import { cleanMask } from "./prepare/postprocess";
import { countVoxels } from "./statistics";
import { Brain, Result } from "./result";
import type { Settings } from "./settings";

const SURE = 3.0; // logit, a probability of 0.95
// Voxels along each axis that the surface crosses, one at either end: the coarse network is not sure of them.
const UNSURE = 2;
// Of the window's shortest edge, and of the voxel size: a brain that is off by more is looked at once more.
const OFF_CENTRE = 0.08;
const MISFIT = 0.06;

/** What is being done, for people. */
export const STEPS = {
  locate: "finding the brain",
  segment: "drawing its surface",
  to_native: "bringing the mask back to the scan's voxels",
  clean: "cleaning the mask",
  flags: "looking for doubts",
} as const;

export type Step = keyof typeof STEPS;

/** What a network saw of a scan, and its answer for each output. */
interface View {
  window: Grid;
  image: Field;
  logits: Field[];
}

/** Weights made ready once, to be called on many scans. */
export class Stripper {
  private constructor(
    readonly weights: Weights,
    readonly threads: number,
    /** Whether the graphics card runs the networks. */
    readonly onWebgpu: boolean,
    private readonly segmentEngine: Engine,
    private readonly locateEngine: Engine | null,
  ) {}

  /** Make networks ready: on the processor, or on the graphics card by a runtime that can. */
  static async load(weights: Weights, threads: number, webgpu: Runtime | null = null): Promise<Stripper> {
    const make = (stage: Stage) => (webgpu ? makeWebgpuEngine(stage, webgpu) : makeEngine(stage));
    const locate = weights.locate && (await make(weights.locate));
    return new Stripper(weights, threads, webgpu !== null, await make(weights.segment), locate);
  }

  /** Strip one scan; `begin` is told of each step before it. */
  async strip(volume: Volume, settings: Settings, begin: (step: Step) => void): Promise<Result> {
    const { grid } = volume;
    const seconds: Record<string, number> = {};
    const timed = async <T>(step: Step, work: () => T | Promise<T>): Promise<T> => {
      begin(step);
      const began = performance.now();
      const made = await work();
      seconds[step] = (performance.now() - began) / 1000;
      return made;
    };
    const { data, air } = makeFinite(volume.data, grid);
    const found = await timed("locate", () => this.locate(data, grid, air));
    const view = await timed("segment", () => this.segment(data, grid, air, found));
    const find = (csf: boolean) => findBrain(view.logits[findChannel(this.weights, csf)]!, view.window, volume);
    const brain = await timed("to_native", () => find(settings.csf));
    await timed("clean", () => brain.makeMask(settings));
    const result = await timed("flags", () => {
      const traits = measureTraits(view.image, view.logits[0]!, view.window.voxelSize[0]);
      const made = new Result(volume, brain, find, settings, traits, this, seconds);
      made.judge();
      return made;
    });
    return result;
  }

  /** Find the brain by the coarse network; the middle of the head without one. */
  private async locate(data: Field, grid: Grid, air: number): Promise<Extent> {
    const { window } = this.weights.locate ?? this.weights.segment;
    const centres = findHeadCentres(data, grid, window.chooseVoxelSize() * Math.min(...window.shape));
    const middle = [0, 1, 2].map((k) => centres.reduce((sum, point) => sum + point[k]!, 0) / centres.length) as Triple;
    let found: Extent = { centre: middle, extent: null };
    if (!this.weights.locate || !this.locateEngine) return found;
    let most = 0;
    for (const centre of centres) {
      const view = await this.ask(this.weights.locate, this.locateEngine, data, grid, air, { centre, extent: null });
      const core = findCore(view.logits[0]!);
      const voxels = countVoxels(core);
      if (voxels <= most) continue;
      const brain = measureExtent(core, view.window);
      const extent = brain.extent.map((length, k) => length + UNSURE * view.window.voxelSize[k]!) as Triple;
      [found, most] = [{ centre: brain.centre, extent }, voxels];
    }
    return found;
  }

  /** Look at the window about the brain; once more where the brain does not fit it. */
  private async segment(data: Field, grid: Grid, air: number, found: Extent): Promise<View> {
    const stage = this.weights.segment;
    const view = await this.ask(stage, this.segmentEngine, data, grid, air, found);
    const core = findCore(view.logits[0]!);
    if (stage.centre !== "brain" || !countVoxels(core)) return view;
    const seen = measureExtent(core, view.window);
    if (!isMisplaced(seen, view.window, stage.window.chooseVoxelSize(seen.extent))) return view;
    return this.ask(stage, this.segmentEngine, data, grid, air, seen);
  }

  /** Conform, normalise, and run a network on the window about a brain. */
  private async ask(stage: Stage, engine: Engine, data: Field, grid: Grid, air: number, brain: Extent): Promise<View> {
    const window = makeWindow(brain.centre, grid, stage.window.shape, stage.window.chooseVoxelSize(brain.extent));
    const image = normalise(conform(data, grid, window, air));
    return { window, image, logits: await engine(image) };
  }
}

/** Largest piece of what a network is sure of; no neck that it only takes to be likely. */
function findCore(logits: Field): Field<Uint8Array> {
  const plain = logits.copy();
  let highest = -Infinity;
  for (const value of plain.values) if (value > highest) highest = value;
  const level = Math.max(0, Math.min(SURE, highest / 2));
  return cleanMask(select(plain, (value) => value > level));
}

/** Whether a brain lies off the middle of its window, or needs other voxels than it has. */
function isMisplaced(brain: Extent, window: Grid, voxelSize: number): boolean {
  const [size] = window.voxelSize;
  const { centre } = window;
  const off = Math.max(...brain.centre.map((value, k) => Math.abs(value - centre[k]!)));
  return off / (size * Math.min(...window.shape)) > OFF_CENTRE || Math.abs(voxelSize / size - 1) > MISFIT;
}

/** Which of the network's answers is asked for. */
function findChannel(weights: Weights, csf: boolean): number {
  const name = csf ? "brain" : "tissue";
  const { outputs } = weights.segment;
  if (outputs.includes(name)) return outputs.indexOf(name);
  throw new WeightsError(`weights '${weights.name}' give ${outputs.join(", ")}, not ${name}: they cannot leave out the CSF.`);
}

function findBrain(logits: Field, window: Grid, volume: Volume): Brain {
  const found = toNative(logits, window, volume.grid);
  if (!found) {
    throw new EmptyMaskError(`${volume.name}: no brain found. Is it a head, and is the brain in its field of view?`);
  }
  const { box } = found;
  const probability = found.native.copy();
  const { values } = probability;
  for (let i = 0; i < values.length; i++) values[i] = 1 / (1 + Math.exp(-values[i]!));
  return new Brain(volume.name, probability, box, volume.grid);
}
