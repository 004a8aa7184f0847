/** Millimetres, and what a header in other units means by its numbers. */

import { toGeneral } from "../statistics";
import { column, length, linear, type Matrix } from "./affine";

export const VOXEL_MM = [0.02, 50] as const; // from microscopy of specimens to a localiser's slabs
export const FIELD_MM = 3000; // a body from head to foot, and more
const UNITS: Record<number, readonly [name: string, mm: number]> = { 1: ["metres", 1000], 3: ["micrometres", 0.001] };

/** Whether voxels of so many millimetres, and a field of so many, can hold a head. */
export function hasSizeOfHead(shape: readonly number[], voxelSize: readonly number[]): boolean {
  const [low, high] = VOXEL_MM;
  const field = Math.max(...shape.map((n, axis) => n * voxelSize[axis]!));
  return low <= Math.min(...voxelSize) && Math.max(...voxelSize) <= high && field <= FIELD_MM;
}

/**
 * Millimetres in one unit of an affine, and what was assumed about it. Its numbers are millimetres
 * unless they can be none and the header's code names a unit in which they make sense.
 */
export function findUnit(code: number, shape: readonly number[], affine: Matrix): { mm: number; note: string } {
  const unit = UNITS[code];
  if (!unit) return { mm: 1, note: "" };
  const [name, mm] = unit;
  const sizes = [0, 1, 2].map((axis) => length(column(linear(affine), axis)));
  const voxel = sizes.map((size) => toGeneral(size)).join(" x ");
  if (hasSizeOfHead(shape, sizes)) return { mm: 1, note: `its header says ${name}, but voxel sizes ${voxel} were read as millimetres` };
  const isUnit = hasSizeOfHead(shape, sizes.map((size) => mm * size));
  return isUnit ? { mm, note: `its header is in ${name}: voxel sizes ${voxel} were read as ${name}` } : { mm: 1, note: "" };
}
