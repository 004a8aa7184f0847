/**
 * Numbers about a head and its mask by which a usual one can be told from an unusual one.
 *
 * They are taken in the network's window, where every head has the same axes and scale of
 * intensities. What is concluded from them is in `quality.ts` and `score.ts`.
 */

import type { Triple } from "../image/affine";
import { Field, zeros } from "../image/field";
import { findBox } from "../image/grid";
import { fillHoles, measurePieces } from "../prepare/pieces";
import { countVoxels, median, percentiles, roundHalfEven } from "../statistics";
import { average, countFaces, dilate, erode } from "./morphology";
import { measureTurn } from "./turn";

const BLOCK_MM = 4.0;
const CORE_MM = 8.0;
const SHELL_MM = 12.0;
const UNDECIDED = Math.log(0.8 / 0.2);
const FINE_MM = 8.0;
const BROAD_MM = 40.0;

/** Name of each trait, and words for it. */
export const TRAITS = {
  ml: "the mask's volume in ml",
  length_x: "its length from left to right in mm, without the outmost hundredths",
  length_y: "its length from back to front in mm",
  length_z: "its length from below to above in mm",
  skew_y: "its skewness from back to front",
  skew_z: "its skewness from below to above",
  turned: "the angle in degrees between its axes and those of an upright brain",
  compact: "its compactness, 1 for a ball",
  mirror: "the share of it that its left-right mirror does not cover",
  second: "the second piece as a share of the first",
  holes: "the share of it that is holes",
  rim_mm: "the thickness in mm of the layer in which the network is undecided",
  sure_in: "the logit that 5% of the inside stay below",
  sure_out: "the logit that 5% around stay above",
  core_10: "the darkest tenth of the inside",
  core_50: "the brightness of the inside",
  core_90: "the brightest tenth of the inside",
  rim_50: "the brightness along the surface",
  shell_10: "the darkest tenth of what lies around",
  shell_50: "the brightness of what lies around",
  shell_90: "the brightest tenth of what lies around",
  structure: "the contrast within",
} as const;

export type Trait = keyof typeof TRAITS;
export type Traits = Partial<Record<Trait, number>>;

type Mask = Field<Uint8Array>;

/** Measure a head in the network's window: normalised image, logits; nothing if the mask is empty. */
export function measureTraits(image: Field, logits: Field, voxelSize: number): Traits {
  const blocks = Math.max(1, roundHalfEven(BLOCK_MM / voxelSize));
  image = makeBlocks(image, blocks);
  logits = makeBlocks(logits, blocks);
  const size = voxelSize * blocks;
  const whole = toMask(logits, (value) => value > 0);
  const box = findBox(whole, roundHalfEven(SHELL_MM / size) + 1);
  if (!box) return {};
  image = image.crop(box).copy();
  logits = logits.crop(box).copy();
  const inside = whole.crop(box).copy();
  const eroded = erode(inside, Math.max(1, roundHalfEven(CORE_MM / size)));
  const dilated = dilate(inside, Math.max(1, roundHalfEven(SHELL_MM / size)));
  const core = eroded.values.some(Boolean) ? eroded : inside;
  let shell = combine(dilated, inside, (a, b) => a && !b);
  if (!shell.values.some(Boolean)) shell = toMask(inside, (value) => !value);
  return {
    ...measureSureness(logits, inside, core, shell, size),
    ...measureShape(inside, size),
    ...measureIntensity(image, combine(inside, core, (a, b) => a && !b), core, shell),
    structure: measureStructure(image, core, shell, size),
  };
}

/** Means of blocks of voxels; what is left over at the far ends is not looked at. */
function makeBlocks(values: Field, count: number): Field {
  const shape = values.shape.map((length) => Math.floor(length / count)) as Triple;
  const total = zeros(shape);
  for (let k = 0; k < count ** 3; k++) {
    const first: Triple = [k % count, Math.floor(k / count) % count, Math.floor(k / count ** 2)];
    const part = values.crop(shape.map((n) => [0, n * count] as const)).every([count, count, count], first);
    part.forEach((place, at) => {
      total.values[at]! += part.values[place]!;
    });
  }
  for (let i = 0; i < total.values.length; i++) total.values[i]! /= count ** 3;
  return total;
}

function toMask(values: Field<Float32Array | Uint8Array>, test: (value: number) => boolean): Mask {
  return new Field(Uint8Array.from(values.flat(), (value) => (test(value) ? 1 : 0)), values.shape);
}

function combine(a: Mask, b: Mask, test: (a: number, b: number) => unknown): Mask {
  return new Field(a.values.map((value, i) => (test(value, b.values[i]!) ? 1 : 0)), a.shape);
}

function select(values: Float32Array, zone: Mask): Float32Array {
  return values.filter((_, i) => zone.values[i]);
}

/** How sure the network is, and of how many pieces. */
function measureSureness(logits: Field, inside: Mask, core: Mask, shell: Mask, voxelSize: number): Traits {
  const undecided = logits.values.reduce((sum, value) => sum + (Math.abs(value) < UNDECIDED ? 1 : 0), 0);
  const sizes = measurePieces(inside);
  const around = select(logits.values, shell);
  return {
    rim_mm: (undecided * voxelSize) / countFaces(inside),
    sure_in: percentiles(select(logits.values, core), [5])[0]!,
    sure_out: around.length ? percentiles(around, [95])[0]! : 0,
    second: sizes.length > 1 ? sizes[1]! / sizes[0]! : 0,
    holes: (countVoxels(fillHoles(inside)) - countVoxels(inside)) / countVoxels(inside),
  };
}

/** Size and form of the mask. */
function measureShape(inside: Mask, voxelSize: number): Traits {
  const profiles = inside.shape.map((n) => new Float64Array(n));
  const [nx, ny] = inside.shape;
  inside.values.forEach((value, i) => {
    if (!value) return;
    profiles[0]![i % nx]!++;
    profiles[1]![Math.floor(i / nx) % ny]!++;
    profiles[2]![Math.floor(i / (nx * ny))]!++;
  });
  const [x, y, z] = profiles.map(measureProfile) as [Profile, Profile, Profile];
  const volume = countVoxels(inside);
  const area = (countFaces(inside) * 2) / 3; // of a ball 3/2 of its surface are counted
  return {
    ml: (volume * voxelSize ** 3) / 1000,
    length_x: x.length * voxelSize,
    length_y: y.length * voxelSize,
    length_z: z.length * voxelSize,
    skew_y: y.skew,
    skew_z: z.skew,
    compact: (36 * Math.PI * volume ** 2) / area ** 3,
    mirror: 1 - countMirrored(inside, profiles[0]!, volume) / volume,
    turned: measureTurn(inside),
  };
}

/** Voxels whose mirror, left and right of the middle, is in the mask as well. */
function countMirrored(inside: Mask, profile: Float64Array, volume: number): number {
  const [nx] = inside.shape;
  const twice = roundHalfEven((2 * profile.reduce((sum, n, x) => sum + n * x, 0)) / volume);
  let covered = 0;
  inside.values.forEach((value, i) => {
    const x = i % nx;
    const there = twice - x;
    if (value && there >= 0 && there < nx && inside.values[i - x + there]) covered++;
  });
  return covered;
}

interface Profile {
  skew: number;
  length: number;
}

/** Skewness of voxels along an axis, and their length without the outmost hundredths. */
function measureProfile(counts: Float64Array): Profile {
  const whole = counts.reduce((a, b) => a + b, 0);
  const mean = counts.reduce((sum, n, place) => sum + n * place, 0) / whole;
  const moment = (power: number) => counts.reduce((sum, n, place) => sum + n * (place - mean) ** power, 0) / whole;
  const spread = Math.max(Math.sqrt(moment(2)), 0.5);
  let before = 0;
  const shares = Array.from(counts, (n) => {
    before += n;
    return (before - n / 2) / whole;
  });
  return { skew: moment(3) / spread ** 3, length: interpolate(0.99, shares) - interpolate(0.01, shares) };
}

/** Place at which rising shares reach a value, as numpy's interp. */
function interpolate(value: number, shares: readonly number[]): number {
  if (value <= shares[0]!) return 0;
  const above = shares.findIndex((share) => share > value);
  if (above < 0) return shares.length - 1;
  const low = shares[above - 1]!;
  return above - 1 + (value - low) / (shares[above]! - low);
}

/** Quantiles of the normalised intensity within, along and around the mask. */
function measureIntensity(image: Field, rim: Mask, core: Mask, shell: Mask): Traits {
  const quantiles = (zone: Mask) => {
    const values = select(image.values, zone);
    return percentiles(values.length ? values : [0], [10, 50, 90]);
  };
  const along = select(image.values, rim);
  const [core_10, core_50, core_90] = quantiles(core);
  const [shell_10, shell_50, shell_90] = quantiles(shell);
  return { rim_50: along.length ? median(along) : 0, core_10, core_50, core_90, shell_10, shell_50, shell_90 };
}

/** How much tissues differ within the brain: in a plain phantom nothing does. */
function measureStructure(image: Field, core: Mask, shell: Mask, voxelSize: number): number {
  const weight = new Field(Float32Array.from(core.values), core.shape);
  const weighted = new Field(image.values.map((value, i) => value * weight.values[i]!), image.shape);
  const blur = (mm: number) => {
    const width = Math.max(roundHalfEven(mm / voxelSize), 1);
    const share = average(weight, width).values;
    return average(weighted, width).values.map((value, i) => value / Math.max(share[i]!, 1e-3));
  };
  const few = blur(FINE_MM);
  const many = blur(BROAD_MM);
  const differences = select(few.map((value, i) => value - many[i]!), core);
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  const deviation = Math.sqrt(differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / differences.length);
  const darkest = image.values.reduce((least, value, i) => (core.values[i] || shell.values[i] ? Math.min(least, value) : least), Infinity);
  return Math.min(deviation / Math.max(median(select(image.values, core)) - darkest, 1e-3), 1);
}
