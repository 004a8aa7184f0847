/**
 * Doubts as data: what about a scan or its mask a person should look at.
 *
 * Each check returns a flag or nothing. Checks read every few voxels, so that all of them together
 * take a small part of the network's time. Words and limits are those of the Python package.
 */

import type { Triple } from "../image/affine";
import { emptyMask, Field } from "../image/field";
import type { Box } from "../image/grid";
import { measurePieces } from "../prepare/pieces";
import { DEFAULTS } from "../settings";
import { countVoxels, percentiles, roundHalfEven } from "../statistics";
import { sumUp } from "./likeness";
import { TRAITS, type Trait, type Traits } from "./traits";

export const LIMITS = {
  SAMPLE_MM: 3.0,
  CT_AIR_HU: -900.0,
  CT_AIR_SHARE: 0.1,
  CT_GAP_HU: [-800.0, -200.0],
  CT_GAP_SHARE: 0.15,
  CT_SOFT_HU: [0.0, 80.0],
  CT_SOFT_SHARE: 0.2,
  CT_BONE_HU: 300.0,
  CT_BONE_SHARE: 0.02,
  STRIPPED_LEVEL: 0.02,
  STRIPPED_PLAIN_SHARE: 0.2,
  STRIPPED_MAX_ML: 2000.0,
  STRIPPED_FACE_MM2: 10000.0,
  CUT_MM2: 400.0,
  VOLUME_ML: [600.0, 2300.0],
  INFANT_VOLUME_ML: [100.0, 900.0],
  INFANT_WIDTH_MM: 105.0,
  WIDTH_LEVEL: 0.15,
  WIDTH_SHARE: 0.2,
  PIECE_SHARE: 0.05,
  RIM_MM: 3.5,
  PLAIN_STRUCTURE: 0.03,
  MIRROR_SHARE: 0.16,
  TURNED: 60.0,
  UNLIKE: 1.5,
} as const;

/** One doubt: a short stable name, and what was found, for people. */
export interface Flag {
  name: string;
  sentence: string;
}

/** A scan as it was read, its final mask, and the probability, which is 0 outside of its box. */
export interface Scan {
  data: Field;
  mask: Field<Uint8Array>;
  probability: Field;
  box: Box;
  voxelSize: Triple;
  /** How many voxels are NaN because they were padding. */
  padded: number;
}

type Found = Flag | null;
const only = (found: readonly Found[]): Flag[] => found.filter((flag) => flag !== null);
const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;

/** Find all doubts about a scan and its mask, always in the same order. */
export function findFlags(scan: Scan): Flag[] {
  const strides = scan.voxelSize.map((size) => Math.max(1, roundHalfEven(LIMITS.SAMPLE_MM / size))) as Triple;
  const first = strides.map((stride) => Math.floor(stride / 2)) as Triple;
  const steps = strides.map((stride, axis) => stride * scan.voxelSize[axis]!) as Triple;
  const few = scan.data.every(strides, first).copy();
  const cut = findCut(scan.mask, scan.voxelSize);
  return only([
    findNotFinite(scan.data, scan.padded),
    findCt(few.values),
    findStripped(few, steps),
    cut,
    findVolume(scan.mask, scan.voxelSize, few, steps, cut !== null),
    findPieces(scan, strides, first),
  ]);
}

function findNotFinite(data: Field, padded: number): Found {
  let count = -padded;
  for (const value of data.values) if (!Number.isFinite(value)) count++;
  if (!count) return null;
  const voxels = count === 1 ? "1 voxel is" : `${count} voxels are`;
  return { name: "not-finite", sentence: `${voxels} NaN or infinite and treated as background.` };
}

function share(values: Float32Array, low: number, high: number): number {
  return values.reduce((count, value) => count + (value >= low && value <= high ? 1 : 0), 0) / values.length;
}

function findCt(few: Float32Array): Found {
  const finite = few.filter(Number.isFinite);
  const head = finite.filter((value) => value > LIMITS.CT_AIR_HU);
  if (finite.length - head.length < LIMITS.CT_AIR_SHARE * finite.length || !head.length) return null;
  const gap = share(head, ...LIMITS.CT_GAP_HU);
  const soft = share(head, ...LIMITS.CT_SOFT_HU);
  const bone = share(head, LIMITS.CT_BONE_HU, Infinity);
  if (gap > LIMITS.CT_GAP_SHARE || soft < LIMITS.CT_SOFT_SHARE || bone < LIMITS.CT_BONE_SHARE) return null;
  return {
    name: "looks-like-ct",
    sentence:
      `The intensities look like a CT in Hounsfield units (air near -1000, ${percent(soft)} of the ` +
      `rest soft tissue, ${percent(bone)} bone); the weights are made for MR.`,
  };
}

function findStripped(few: Field, steps: Triple): Found {
  const finite = few.values.filter(Number.isFinite);
  if (!finite.length) return null;
  const { levels, level, count } = countLevels(finite);
  const plain = count + few.size - finite.length;
  const bright = percentiles(levels.map((value) => Math.abs(value - level)), [95])[0]!;
  const tissue = emptyMask(few.shape);
  few.values.forEach((value, i) => {
    if (Number.isFinite(value) && Math.abs(value - level) > LIMITS.STRIPPED_LEVEL * bright) tissue.values[i] = 1;
  });
  const voxel = steps[0] * steps[1] * steps[2];
  const some = countVoxels(tissue);
  const ml = (some * voxel) / 1000;
  const faces = countOnFaces(tissue).reduce((sum, [start, end], axis) => sum + ((start + end) * voxel) / steps[axis]!, 0);
  if (plain < LIMITS.STRIPPED_PLAIN_SHARE * few.size || ml > LIMITS.STRIPPED_MAX_ML) return null;
  if (!some || faces > LIMITS.STRIPPED_FACE_MM2) return null;
  return {
    name: "already-stripped",
    sentence:
      `The scan looks already stripped: ${ml.toFixed(0)} ml on a plain background, no more than a ` +
      "brain; the mask may have lost its rim.",
  };
}

/** The different values that voxels have, the one that most have (of several the smallest), and how many have it. */
function countLevels(values: Float32Array): { levels: Float32Array; level: number; count: number } {
  const sorted = values.slice().sort();
  const levels: number[] = [];
  let best = { level: sorted[0]!, count: 0 };
  for (let start = 0, i = 1; i <= sorted.length; i++) {
    if (i < sorted.length && sorted[i] === sorted[start]) continue;
    if (i - start > best.count) best = { level: sorted[start]!, count: i - start };
    levels.push(sorted[start]!);
    start = i;
  }
  return { levels: Float32Array.from(levels), ...best };
}

/** Voxels of a mask on the first and the last layer of each axis. */
function countOnFaces(mask: Field<Uint8Array>): [number, number][] {
  return [0, 1, 2].map((axis) => {
    const count = (layer: number) => {
      const box = mask.shape.map((n, k): [number, number] => (k === axis ? [layer, layer + 1] : [0, n]));
      return countVoxels(mask.crop(box).copy());
    };
    return [count(0), count(mask.shape[axis]! - 1)];
  });
}

function findCut(mask: Field<Uint8Array>, voxelSize: Triple): Found {
  const voxel = voxelSize[0] * voxelSize[1] * voxelSize[2];
  const faces = countOnFaces(mask).flatMap((counts, axis) =>
    counts.flatMap((count, end) => {
      const area = (count * voxel) / voxelSize[axis]!;
      if (area <= LIMITS.CUT_MM2) return [];
      return [`${(area / 100).toFixed(0)} cm2 at the ${end ? "end" : "start"} of axis ${axis}`];
    }),
  );
  if (!faces.length) return null;
  return { name: "field-cuts-brain", sentence: `The field of view cuts the brain: ${faces.join(", ")}.` };
}

function findVolume(mask: Field<Uint8Array>, voxelSize: Triple, few: Field, steps: Triple, cut: boolean): Found {
  const voxels = countVoxels(mask);
  const ml = (voxels * voxelSize[0] * voxelSize[1] * voxelSize[2]) / 1000;
  let [low, high]: readonly [number, number] = LIMITS.VOLUME_ML;
  let whose = "beyond infancy";
  if (ml < low && !cut) {
    const width = measureWidth(few, steps);
    if (width <= LIMITS.INFANT_WIDTH_MM) {
      [low, high] = LIMITS.INFANT_VOLUME_ML;
      whose = `in a head of ${width.toFixed(0)} mm, as infants have`;
    }
  }
  if ((cut || low <= ml) && ml <= high) return null;
  return { name: "volume", sentence: `The mask has ${ml.toFixed(0)} ml; ${low} to ${high} ml are plausible ${whose}.` };
}

/** The shortest edge in mm of the box that holds what is brighter than air. */
export function measureWidth(data: Field, voxelSize: Triple): number {
  const finite = data.values.filter(Number.isFinite);
  if (!finite.length) return 0;
  const [low, high] = percentiles(finite, [0.5, 99.5]) as [number, number];
  const level = low + LIMITS.WIDTH_LEVEL * (high - low);
  const counts = data.shape.map((n) => new Array<number>(n).fill(0));
  const [nx, ny] = data.shape;
  data.values.forEach((value, place) => {
    if (!(value > level && Number.isFinite(value))) return;
    counts[0]![place % nx]!++;
    counts[1]![Math.floor(place / nx) % ny]!++;
    counts[2]![Math.floor(place / (nx * ny))]!++;
  });
  const edges = counts.map((slices, axis) => {
    const fullest = Math.max(...slices, 1e-9);
    return slices.filter((count) => count >= LIMITS.WIDTH_SHARE * fullest).length * voxelSize[axis]!;
  });
  return Math.min(...edges);
}

function findPieces({ data, probability, box }: Scan, strides: Triple, first: Triple): Found {
  const few = emptyMask(data.every(strides, first).shape);
  few.forEach((place, count) => {
    const [nx, ny] = few.shape;
    const at = [count % nx, Math.floor(count / nx) % ny, Math.floor(count / (nx * ny))];
    const [x, y, z] = at.map((k, axis) => first[axis]! + k * strides[axis]! - box[axis]![0]) as Triple;
    const known = [x, y, z].every((k, axis) => k >= 0 && k < probability.shape[axis]!);
    if (known && probability.at(x, y, z) >= DEFAULTS.threshold) few.values[place] = 1;
  });
  const sizes = measurePieces(few);
  if (sizes.length < 2 || sizes[1]! <= LIMITS.PIECE_SHARE * sizes[0]!) return null;
  return {
    name: "pieces",
    sentence:
      `The network found more than one piece; the second has ${percent(sizes[1]! / sizes[0]!)} of the ` +
      "first's volume and was left out.",
  };
}

/** Find the doubts that what was measured in the network's window gives rise to. */
export function findTraitFlags(traits: Traits, unlike: Traits | null, cut: boolean): Flag[] {
  if (!Object.keys(traits).length) return [];
  const known = traits as Required<Traits>;
  return only([
    findUncertainRim(known.rim_mm),
    findPhantom(known.structure),
    cut ? null : findOrientation(known),
    cut ? null : findAsymmetry(known.mirror),
    findUnlikeTraining(unlike ?? {}),
  ]);
}

function findUncertainRim(rim: number): Found {
  if (rim <= LIMITS.RIM_MM) return null;
  return {
    name: "uncertain-rim",
    sentence:
      `The network is undecided (probability 0.2 to 0.8) over a layer of ${rim.toFixed(1)} mm; 2 mm ` + "are usual.",
  };
}

function findPhantom(structure: number): Found {
  if (structure >= LIMITS.PLAIN_STRUCTURE) return null;
  return {
    name: "looks-like-phantom",
    sentence:
      `Within the mask nothing differs by more than noise and bias (${(100 * structure).toFixed(1)}% of the ` +
      "brightness; tissues of a brain by 6% and more): a phantom, or an image without contrast.",
  };
}

function findOrientation(traits: Required<Traits>): Found {
  if (traits.turned <= LIMITS.TURNED) return null;
  return {
    name: "orientation",
    sentence: `By the header's orientation the brain is turned by ${traits.turned.toFixed(0)} degrees. Is the header right?`,
  };
}

function findAsymmetry(mirror: number): Found {
  if (mirror <= LIMITS.MIRROR_SHARE) return null;
  return {
    name: "asymmetric",
    sentence:
      `${percent(mirror)} of the mask have no counterpart on the other side: a part is missing or ` +
      "too much, or the head is turned.",
  };
}

function findUnlikeTraining(unlike: Traits): Found {
  const distance = sumUp(unlike);
  if (distance <= LIMITS.UNLIKE) return null;
  const names = Object.keys(unlike) as Trait[];
  const most = names.sort((a, b) => unlike[b]! - unlike[a]!).slice(0, 2);
  const words = most.filter((name) => unlike[name]! > 0.1 * distance).map((name) => TRAITS[name]);
  return {
    name: "unlike-training",
    sentence:
      `The head is unlike the training heads of the weights, mostly in ${words.join(" and ")} ` +
      `(${distance.toFixed(1)} times the range that they span).`,
  };
}
