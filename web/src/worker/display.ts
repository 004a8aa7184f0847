/** A scan as the page shows it: axes nearest to RAS+, straight, 8 bits. */

import { toCanonicalField } from "../image/grid";
import { Grid } from "../image/grid";
import { makeAffine, diagonal } from "../image/affine";
import { makeNiftiHeader } from "../image/nifti";
import type { Volume } from "../image/volume";
import { percentilesInPlace } from "../statistics";
import type { Shown } from "./protocol";

const SAMPLES = 500_000;
const LEVELS = 255;

/** An oblique scan is shown in its own planes, so that a drawing's voxels are the scan's. */
export function makeShown(volume: Volume): Shown {
  const { data, grid, name, notes, padding } = volume;
  const canonical = grid.canonical();
  const values = toCanonicalField(data, grid);
  const step = Math.max(1, Math.floor(data.size / SAMPLES));
  const some = new Float32Array(Math.ceil(data.size / step)).map((_, i) => data.values[i * step]!).filter(Number.isFinite);
  const [low, high] = percentilesInPlace(some, [0, 99.9]) as [number, number];
  const scale = LEVELS / (high - low || 1);
  const { shape, voxelSize } = canonical;
  const origin = voxelSize.map((size, axis) => (-size * (shape[axis]! - 1)) / 2);
  const header = makeNiftiHeader(shape, "uint8", new Grid(shape, makeAffine(diagonal(voxelSize), origin)));
  const start = header.bytes.length + 4;
  header.set("vox_offset", start);
  header.set("scl_slope", 1);
  header.set("scl_inter", 0);
  const file = new Uint8Array(start + data.size);
  file.set(header.bytes);
  values.forEach((place, count) => {
    const value = Math.round((values.values[place]! - low) * scale);
    file[start + count] = value > 0 ? Math.min(value, LEVELS) : 0; // nothing is above NaN
  });
  const isUsual = padding?.values.every((value) => value === 0); // 0 is what every tool fills with
  const warnings = isUsual ? notes.slice(0, -1) : notes; // of padding the last one tells
  return { name, shape, voxelSize, voxelMl: grid.voxelVolume / 1000, warnings, file: file.buffer };
}
