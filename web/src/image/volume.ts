/**
 * The Volume, a head in memory, and how outputs are made on its grid.
 *
 * A source header travels with the data: outputs copy it and change only what their content must.
 */

import { GeometryError, ImageFileError } from "../errors";
import { toGeneral } from "../statistics";
import type { Matrix } from "./affine";
import { Field } from "./field";
import { Grid, type Shape } from "./grid";
import type { NiftiHeader } from "./nifti";
import { describePadding, type Padding, takeOutPadding } from "./padding";
import { encodeZero, showShape, SIZES, type Stored, toFloat32 } from "./stored";
import { FIELD_MM, findUnit, hasSizeOfHead, VOXEL_MM } from "./units";

/** An image as it was read: header untouched, extensions, stored voxels. */
export interface Source {
  header: NiftiHeader;
  /** Bytes between the header and the voxels: the extensions. */
  lead: Uint8Array;
  stored: Stored;
  affine: Matrix;
  /** Which frame of a 4D file the voxels are. */
  frame: number | null;
  /** What was assumed in reading it, or left out. */
  notes: string[];
  /** Those of the given files that it was read from. */
  files: File[];
}

/** One 3D image of a head on its own grid. */
export interface Volume {
  /** Scaled intensities; NaN and Inf stay as the file has them, padding is NaN as well. */
  data: Field;
  grid: Grid;
  source: Source;
  name: string;
  /** Part of the field that was filled, not measured; null if there is none. */
  padding: Padding | null;
  /** What was assumed in reading it, or left out. */
  notes: string[];
}

/** Make a Volume of an image, with the checks of the command line. */
export function makeVolume(source: Source, name: string): Volume {
  const shape = source.stored.shape;
  if (Math.min(...shape) < 2) {
    throw new ImageFileError(`${name}: a single slice ${showShape(shape)}; expected a 3D image of a head.`);
  }
  const { mm, note } = findUnit(source.header.unit, shape, source.affine);
  const affine = source.affine.map((row, k) => row.map((value) => (k < 3 ? mm * value : value)));
  let grid: Grid;
  try {
    grid = new Grid(shape as Shape, affine);
  } catch (error) {
    if (error instanceof GeometryError) throw new GeometryError(`${name}: ${error.message}`);
    throw error;
  }
  checkSize(grid, name);
  const data = new Field(toFloat32(source.stored), grid.shape);
  checkValues(data.values, name);
  const padding = takeOutPadding(data);
  const notes = [...source.notes, note, padding ? describePadding(padding, data.size) : ""].filter(Boolean);
  return { data, grid, source, name, padding, notes };
}

function checkSize(grid: Grid, name: string): void {
  const [low, high] = VOXEL_MM;
  const sizes = grid.voxelSize;
  if (hasSizeOfHead(grid.shape, sizes)) return;
  const field = Math.max(...grid.shape.map((n, axis) => n * sizes[axis]!));
  throw new GeometryError(
    `${name}: voxels of ${sizes.map((size) => toGeneral(size)).join(" x ")} mm in a field of ${toGeneral(field)} mm; ` +
      `expected ${low} to ${high} mm and at most ${FIELD_MM} mm. Are the header's units metres or micrometres?`,
  );
}

function checkValues(data: Float32Array, name: string): void {
  let low = Infinity;
  let high = -Infinity;
  for (const value of data) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === Infinity) throw new ImageFileError(`${name}: every voxel is NaN or infinite; expected a head.`);
  if (low === high) throw new ImageFileError(`${name}: every voxel is ${low + 0}; expected a head.`);
  if (data.every((value) => value === low || value === high))
    throw new ImageFileError(`${name}: a mask, its values are ${low + 0} and ${high + 0}; expected a head.`);
}

/** The file of a mask on the grid of a scan: uint8 without scaling, the scan's header otherwise. */
export function encodeMask(mask: Uint8Array, source: Source): Uint8Array[] {
  const header = source.header.copy();
  header.clearMeaning();
  return encode(header, source, { ...source.stored, bytes: mask, type: "uint8", slope: 1, inter: 0 });
}

/** The file of a probability on the grid of a scan: float32, the scan's header otherwise. */
export function encodeMap(values: Float32Array, source: Source): Uint8Array[] {
  const header = source.header.copy();
  header.clearMeaning();
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, source.stored.isLittle));
  return encode(header, source, { ...source.stored, bytes, type: "float32", slope: 1, inter: 0 });
}

/** The file of the brain: stored values inside the mask bit for bit, 0 outside. */
export function encodeBrain(mask: Uint8Array, source: Source): Uint8Array[] {
  const { stored } = source;
  const size = SIZES[stored.type];
  const zero = encodeZero(stored);
  const bytes = new Uint8Array(stored.bytes.length);
  if (zero.some(Boolean)) for (let i = 0; i < bytes.length; i += size) bytes.set(zero, i);
  for (let voxel = 0; voxel < mask.length; voxel++) {
    if (!mask[voxel]) continue;
    for (let i = voxel * size; i < (voxel + 1) * size; i++) bytes[i] = stored.bytes[i]!;
  }
  return encode(source.header.copy(), source, { ...stored, bytes });
}

/** Header with extensions, and voxels. */
function encode(header: NiftiHeader, source: Source, stored: Stored): Uint8Array[] {
  header.type = stored.type;
  if (showShape(header.shape) !== showShape(stored.shape)) header.shape = stored.shape;
  const lead = source.lead.length ? source.lead : new Uint8Array(4);
  header.makeSingle();
  header.set("vox_offset", header.bytes.length + lead.length);
  header.set("scl_slope", stored.slope);
  header.set("scl_inter", stored.inter);
  return [header.bytes, lead, stored.bytes];
}
