/** Intensity normalisation: what the network sees does not depend on the scanner's units. */

import type { Triple } from "../image/affine";
import { Field } from "../image/field";
import { type Grid, toCanonicalField } from "../image/grid";
import { percentiles, percentilesInPlace } from "../statistics";

const AIR = 0.5; // percentile that stands for air, within the field and outside of it
const SAMPLE_MM = 4.0; // a voxel every so often tells enough
const LOW = 0.5; // percentiles that an outlier, a hot voxel or a wrap-round cannot move
const HIGH = 99.5;
const FOREGROUND = 0.1; // of the way from low to high: above air and noise, below any tissue

/**
 * Bring the head to zero mean and unit variance. Values are clipped to robust percentiles; mean
 * and deviation are those of the foreground alone. A constant image gives zeros.
 */
export function normalise(image: Field): Field {
  const values = image.copy().values;
  let [low, high] = percentiles(values, [LOW, HIGH]) as [number, number];
  if (high <= low) {
    low = values.reduce((a, b) => Math.min(a, b), Infinity);
    high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    if (high <= low) return new Field(new Float32Array(values.length), image.shape);
  }
  let count = 0;
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    values[i] = (Math.min(Math.max(values[i]!, low), high) - low) / (high - low);
    if (values[i]! > FOREGROUND) {
      count++;
      sum += values[i]!;
    }
  }
  const mean = sum / count;
  let squares = 0;
  for (const value of values) if (value > FOREGROUND) squares += (value - mean) ** 2;
  const deviation = Math.max(Math.sqrt(squares / count), 1e-3);
  for (let i = 0; i < values.length; i++) values[i] = (values[i]! - mean) / deviation;
  return new Field(values, image.shape);
}

/** Turn NaN and Inf into air; the same array if there are none, and the intensity of air. */
export function makeFinite(data: Field, grid: Grid): { data: Field; air: number } {
  const air = findAir(data, grid);
  if (data.values.every(Number.isFinite)) return { data, air };
  const values = data.values.map((value) => (Number.isFinite(value) ? value : air));
  return { data: new Field(values, data.shape, data.strides, data.offset), air };
}

/** Find the intensity of what lies outside of the head, whatever the orientation. */
export function findAir(data: Field, grid: Grid): number {
  const steps = grid.canonical().voxelSize.map((size) => Math.max(1, Math.trunc(SAMPLE_MM / size))) as Triple;
  const coarse = toCanonicalField(data, grid).every(steps).copy().values.filter(Number.isFinite);
  const finite = coarse.length ? coarse : data.values.filter(Number.isFinite);
  return percentilesInPlace(finite, [AIR])[0]!;
}
