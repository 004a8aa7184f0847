/** FreeSurfer's MGH and MGZ, as a NIfTI image made from the voxels and the affine. */

import { GeometryError, ImageFileError } from "../errors";
import { makeAffine, transform, type Triple } from "./affine";
import { chooseFrame, readVoxels } from "./formats";
import { Grid, type Shape } from "./grid";
import { makeNiftiHeader } from "./nifti";
import type { VoxelType } from "./stored";
import { ByteReader } from "./streams";
import type { Source } from "./volume";

const START = 284;
const TYPES: Record<number, VoxelType> = { 0: "uint8", 1: "int32", 3: "float32", 4: "int16", 10: "uint16" };

export async function readMgh(file: File, wanted: number | null): Promise<Source> {
  const reader = await ByteReader.open(file, file.name);
  const block = await reader.read(START);
  const view = new DataView(block.buffer, block.byteOffset);
  const version = view.getInt32(0);
  const type = TYPES[view.getInt32(20)];
  if (version !== 1 || !type) {
    throw new ImageFileError(
      `${file.name}: version ${version} with data type ${view.getInt32(20)} is no MGH file; expected version 1 with type ` +
        "0, 1, 3, 4 or 10.",
    );
  }
  const dims = [4, 8, 12, 16].map((place) => view.getInt32(place));
  const { shape, frame } = chooseFrame(dims, wanted, file.name);
  const notes: string[] = [];
  const bytes = await readVoxels(reader, shape, type, frame, file.size, notes);
  if (view.getInt16(28) === 0) notes.push("no orientation in its header; 1 mm and LIA assumed, as by FreeSurfer");
  const voxels = { bytes, shape: shape as Shape, type, isLittle: false, frame, notes, files: [file] };
  return makeSource(voxels, readAffine(view, shape as Shape, file.name), file.name);
}

function readAffine(view: DataView, shape: Shape, name: string): number[][] {
  const isGood = view.getInt16(28) > 0;
  const float = (k: number) => view.getFloat32(30 + 4 * k);
  const sizes: Triple = isGood ? [float(0), float(1), float(2)] : [1, 1, 1];
  if (!sizes.every((size) => size > 0 && size < Infinity)) {
    throw new GeometryError(`${name}: voxel size [${sizes.join(", ")}]; expected numbers above zero.`);
  }
  const cosines = isGood ? [0, 1, 2, 3, 4, 5, 6, 7, 8].map((k) => float(3 + k)) : [-1, 0, 0, 0, 0, -1, 0, 1, 0];
  const centre = isGood ? [float(12), float(13), float(14)] : [0, 0, 0];
  const matrix = [0, 1, 2].map((k) => sizes.map((size, axis) => cosines[3 * axis + k]! * size));
  const middle = transform(matrix, shape.map((n) => n / 2));
  return makeAffine(matrix, centre.map((value, k) => value - middle[k]!));
}

/** Voxels from a format without a NIfTI header, and what was assumed in reading them. */
export interface Voxels {
  bytes: Uint8Array;
  shape: Shape;
  type: VoxelType;
  isLittle: boolean;
  frame: number | null;
  notes: string[];
  files: File[];
}

/** Put voxels under a NIfTI header that is made for them. */
export function makeSource(
  voxels: Voxels,
  affine: number[][],
  name: string,
): Source {
  let grid: Grid;
  try {
    grid = new Grid(voxels.shape, affine);
  } catch (error) {
    throw new GeometryError(`${name}: ${(error as Error).message}`);
  }
  const { bytes, shape, type, frame, notes, files } = voxels;
  const header = makeNiftiHeader(shape, type, grid);
  const swapped = voxels.isLittle ? bytes : swap(bytes, type);
  const stored = { bytes: swapped, shape, type, isLittle: true, slope: 1, inter: 0 };
  return { header, lead: new Uint8Array(0), stored, affine: grid.affine, frame, notes, files };
}

/** Bytes in the order of the header that is made. */
function swap(bytes: Uint8Array, type: VoxelType): Uint8Array {
  const size = Number(/\d+/.exec(type)![0]) / 8;
  const swapped = bytes.slice();
  for (let i = 0; size > 1 && i < swapped.length; i += size) swapped.subarray(i, i + size).reverse();
  return swapped;
}
