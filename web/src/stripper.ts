/**
 * The main job, top to bottom: a scan in, its brain out.
 *
 * locate the brain -> conform -> normalise -> segment -> back to native space -> clean -> border.
 * What each step does is in `prepare/` and `network/`; what comes out is `result.ts`.
 */

import { EmptyMaskError } from "./errors";
import type { Triple } from "./image/affine";
import { Field } from "./image/field";
import type { Grid } from "./image/geometry";
import type { Volume } from "./image/volume";
import { measureTraits } from "./measure/traits";
import { type Engine, makeEngine } from "./network/engine";
import type { Stage, Weights } from "./network/weights";
import { conform, findHeadCentres, makeWindow, toNative } from "./prepare/conform";
import { makeFinite, normalise } from "./prepare/intensity";
import { cleanMask } from "./prepare/postprocess";
import { Brain, Result, type Settings } from "./result";

const SURE = 3.0; // logit, a probability of 0.95
const STRAY = 1.0; // percent of a coarse mask that may be a neck or a nose

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
    private readonly segmentEngine: Engine,
    private readonly locateEngine: Engine | null,
  ) {}

  static async load(weights: Weights, threads: number): Promise<Stripper> {
    const segment = await makeEngine(weights.segment);
    const locate = weights.locate && (await makeEngine(weights.locate));
    return new Stripper(weights, threads, segment, locate);
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
    const centre = await timed("locate", () => this.findCentre(data, grid, air));
    const view = await timed("segment", () => this.segment(data, grid, air, centre));
    const brain = await timed("to_native", () => findBrain(view, volume));
    await timed("clean", () => brain.makeMask(settings));
    const result = await timed("flags", () => {
      const traits = measureTraits(view.image, view.logits[0]!, this.weights.segment.voxelSize);
      return new Result(volume, brain, traits, this.weights, this.threads, seconds);
    });
    return result;
  }

  /** Middle of the brain in RAS+ mm, by the coarse network; of the head without one. */
  private async findCentre(data: Field, grid: Grid, air: number): Promise<Triple> {
    const stage = this.weights.locate ?? this.weights.segment;
    const centres = findHeadCentres(data, grid, stage.voxelSize * Math.min(...stage.shape));
    let found = [0, 1, 2].map((k) => centres.reduce((sum, point) => sum + point[k]!, 0) / centres.length) as Triple;
    let most = 0;
    for (const centre of this.locateEngine ? centres : []) {
      const view = await this.ask(stage, this.locateEngine!, data, grid, air, centre);
      const brain = findCore(view.logits[0]!);
      const voxels = brain.values.reduce((sum, value) => sum + value, 0);
      if (voxels > most) {
        found = findMiddle(brain, view.window);
        most = voxels;
      }
    }
    return found;
  }

  /** Look at the window about the brain, moved once if the brain runs out of it. */
  private async segment(data: Field, grid: Grid, air: number, centre: Triple): Promise<View> {
    const stage = this.weights.segment;
    const view = await this.ask(stage, this.segmentEngine, data, grid, air, centre);
    const brain = findCore(view.logits[0]!);
    if (stage.centre !== "brain" || !brain.values.some(Boolean)) return view;
    const better = findMiddle(brain, view.window);
    const moved = Math.max(...better.map((value, k) => Math.abs(value - centre[k]!)));
    if (moved <= 0.08 * stage.voxelSize * Math.min(...stage.shape)) return view;
    return this.ask(stage, this.segmentEngine, data, grid, air, better);
  }

  /** Conform, normalise, and run a network on the window about a point. */
  private async ask(stage: Stage, engine: Engine, data: Field, grid: Grid, air: number, centre: Triple): Promise<View> {
    const window = makeWindow(centre, grid, stage.shape, stage.voxelSize);
    const image = normalise(conform(data, grid, window, air));
    return { window, image, logits: await engine(image) };
  }
}

/** Largest piece of what a network is sure of; no neck that it only takes to be likely. */
function findCore(logits: Field): Field<Uint8Array> {
  const values = logits.copy().values;
  const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const level = Math.max(0, Math.min(SURE, highest / 2));
  return cleanMask(new Field(Uint8Array.from(values, (value) => (value > level ? 1 : 0)), logits.shape));
}

/** Middle of a mask in RAS+ mm: halfway between its ends, a stray hundredth cut off each. */
function findMiddle(mask: Field<Uint8Array>, grid: Grid): Triple {
  return grid.toMm(findEnds(mask).map(([low, high]) => (low + high) / 2));
}

/** Percentiles of the voxels' indices along each axis, without a stray hundredth at each end. */
function findEnds(mask: Field<Uint8Array>): [number, number][] {
  const [nx, ny] = mask.shape;
  const counts = mask.shape.map((n) => new Float64Array(n));
  mask.values.forEach((value, i) => {
    if (!value) return;
    counts[0]![i % nx]!++;
    counts[1]![Math.floor(i / nx) % ny]!++;
    counts[2]![Math.floor(i / (nx * ny))]!++;
  });
  return counts.map((along) => [findPercentile(along, STRAY), findPercentile(along, 100 - STRAY)]);
}

/** Percentile, by linear interpolation, of whole numbers of which so many are given. */
function findPercentile(counts: Float64Array, percent: number): number {
  const whole = counts.reduce((a, b) => a + b, 0);
  const place = (percent / 100) * (whole - 1);
  const find = (rank: number) => {
    let before = 0;
    return counts.findIndex((count) => (before += count) > rank);
  };
  const low = find(Math.floor(place));
  const high = find(Math.min(Math.floor(place) + 1, whole - 1));
  return low + (high - low) * (place - Math.floor(place));
}

function findBrain(view: View, volume: Volume): Brain {
  const found = toNative(view.logits[0]!, view.window, volume.grid);
  if (!found) {
    throw new EmptyMaskError(`${volume.name}: no brain found. Is it a head, and does its field hold the brain?`);
  }
  const { box } = found;
  const probability = found.native.copy();
  const { values } = probability;
  for (let i = 0; i < values.length; i++) values[i] = 1 / (1 + Math.exp(-values[i]!));
  return new Brain(volume.name, probability, box, volume.grid);
}
