/** A scan as the page shows it: axes nearest to RAS+, straight, 16 bits, as `src/deskull/review/scene.py` encodes it. */

import { diagonal, makeAffine } from "../image/affine";
import { Grid, toCanonicalField } from "../image/grid";
import { makeNiftiHeader } from "../image/nifti";
import type { Volume } from "../image/volume";
import type { Shown } from "./protocol";

const LOWEST = -32767;
const LEVELS = 65534;

/** An oblique scan is shown in its own planes, so that a drawing's voxels are the scan's. */
export function makeShown(volume: Volume): Shown {
  const { data, grid, name, notes, padding } = volume;
  const values = toCanonicalField(data, grid);
  const [low, high] = findRange(data.values);
  const slope = (high - low) / LEVELS || 1;
  const { shape, voxelSize } = grid.canonical();
  const origin = voxelSize.map((size, axis) => (-size * (shape[axis]! - 1)) / 2);
  const header = makeNiftiHeader(shape, "int16", new Grid(shape, makeAffine(diagonal(voxelSize), origin)));
  const start = header.bytes.length + 4;
  header.set("vox_offset", start);
  header.set("scl_slope", slope);
  header.set("scl_inter", low - LOWEST * slope);
  const file = new Uint8Array(start + 2 * data.size);
  file.set(header.bytes);
  const levels = new Int16Array(file.buffer, start);
  values.forEach((place, count) => {
    const level = Math.round((values.values[place]! - low) / slope);
    levels[count] = LOWEST + (level > 0 ? Math.min(level, LEVELS) : 0); // nothing is above NaN
  });
  const isUsual = padding?.values.every((value) => value === 0); // 0 is what every tool fills with
  const warnings = isUsual ? notes.slice(0, -1) : notes; // of padding the last one tells
  return { name, shape, voxelSize, voxelMl: grid.voxelVolume / 1000, warnings, file: file.buffer };
}

function findRange(values: Float32Array): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low && value > -Infinity) low = value;
    if (value > high && value < Infinity) high = value;
  }
  return [low, high];
}
