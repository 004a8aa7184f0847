/**
 * Where voxels lie in space: the Grid, and how one grid is chosen from another.
 *
 * A grid is a shape and an affine, nothing else. Moving intensities from one to the other is
 * `resample.ts`.
 */

import { GeometryError } from "../errors";
import * as affines from "./affine";
import type { Matrix, Triple } from "./affine";
import { Field, type Values } from "./field";

export type Shape = Triple;
/** Start and stop along each axis; they may lie outside of the array. */
export type Box = [[number, number], [number, number], [number, number]];

const MAX_MM = 1e9;
const CODES = [
  ["L", "R"],
  ["P", "A"],
  ["I", "S"],
] as const;

/** A 3D lattice of voxels in RAS+ millimetres. */
export class Grid {
  readonly voxelSize: Triple;

  constructor(
    readonly shape: Shape,
    readonly affine: Matrix,
  ) {
    if (shape.length !== 3 || Math.min(...shape) < 1) {
      throw new GeometryError(`shape (${shape.join(", ")}); expected three positive numbers.`);
    }
    if (!affine.flat().every((value) => Math.abs(value) <= MAX_MM)) {
      throw new GeometryError(`affine ${show(affine)}; expected a finite 4 x 4 matrix.`);
    }
    const linear = affines.linear(affine);
    const sizes = [0, 1, 2].map((axis) => affines.length(affines.column(linear, axis))) as Triple;
    const unit = linear.map((row) => row.map((value, axis) => value / sizes[axis]!));
    if (Math.min(...sizes) < 1e-6 || Math.abs(affines.determinant(unit)) < 1e-3) {
      throw new GeometryError(
        `singular affine ${show(affine)}; expected three independent axes with a voxel size ` +
          "above zero. Repair the header first (its sform or qform).",
      );
    }
    this.voxelSize = sizes;
  }

  get voxels(): number {
    return this.shape[0] * this.shape[1] * this.shape[2];
  }

  /** Cubic millimetres of one voxel. */
  get voxelVolume(): number {
    return Math.abs(affines.determinant(affines.linear(this.affine)));
  }

  /** Axis codes that each array axis points to most, such as "RAS". */
  get orientation(): string {
    return this.canonicalTransform()
      .map(([axis, flip]) => CODES[axis]![flip > 0 ? 1 : 0])
      .join("");
  }

  /** Middle of the field in RAS+ mm. */
  get centre(): Triple {
    return this.toMm(this.shape.map((n) => (n - 1) / 2));
  }

  /** Indices of the eight voxels at the field's corners. */
  get corners(): Triple[] {
    const last = this.shape.map((n) => n - 1);
    return Array.from({ length: 8 }, (_, k) => [k & 1, (k >> 1) & 1, k >> 2].map((on, axis) => on * last[axis]!) as Triple);
  }

  toMm(index: readonly number[]): Triple {
    return affines.transform(this.affine, index);
  }

  toIndex(mm: readonly number[]): Triple {
    return affines.transform(affines.invertAffine(this.affine), mm);
  }

  /** Grid of a box of the array. */
  crop(box: Box): Grid {
    const origin = this.toMm(box.map(([start]) => start));
    const shape = box.map(([start, stop]) => stop - start) as Shape;
    return new Grid(shape, affines.makeAffine(affines.linear(this.affine), origin));
  }

  /** Of each array axis the RAS+ axis that it is nearest to, and 1 or -1 for its direction. */
  canonicalTransform(): [number, number][] {
    const unit = affines.linear(this.affine).map((row) => row.map((value, axis) => value / this.voxelSize[axis]!));
    const rotation = affines.nearestRotation(unit);
    const strength = [0, 1, 2].map((axis) => Math.max(...affines.column(rotation, axis).map(Math.abs)));
    const order = [0, 1, 2].sort((a, b) => strength[b]! ** 2 - strength[a]! ** 2 || a - b);
    const found: [number, number][] = [];
    const taken = new Set<number>();
    for (const axis of order) {
      const free = [0, 1, 2].filter((k) => !taken.has(k));
      const most = Math.max(...free.map((k) => Math.abs(rotation[k]![axis]!)));
      const target = free.find((k) => Math.abs(rotation[k]![axis]!) === most)!;
      taken.add(target);
      found[axis] = [target, rotation[target]![axis]! < 0 ? -1 : 1];
    }
    return found;
  }

  /** This grid with its axes permuted and flipped nearest to RAS+. */
  canonical(): Grid {
    const affine = affines.diagonal([0, 0, 0]);
    const shape: Shape = [0, 0, 0];
    const origin = affines.column(this.affine, 3);
    this.canonicalTransform().forEach(([target, flip], axis) => {
      shape[target] = this.shape[axis]!;
      for (let k = 0; k < 3; k++) {
        const step = this.affine[k]![axis]!;
        affine[k]![target] = flip * step;
        if (flip < 0) origin[k] = origin[k]! + step * (this.shape[axis]! - 1);
      }
    });
    return new Grid(shape, affines.makeAffine(affine, origin));
  }
}

function show(affine: Matrix): string {
  return JSON.stringify(affine.slice(0, 3));
}

/** An isotropic RAS+ grid about a point. */
export function makeRasGrid(centre: readonly number[], shape: Shape, voxelSize: number): Grid {
  const origin = centre.map((value, axis) => value - (voxelSize * (shape[axis]! - 1)) / 2);
  return new Grid(shape, affines.makeAffine(affines.diagonal([voxelSize, voxelSize, voxelSize]), origin));
}

/** View of an array on `grid` with its axes permuted and flipped nearest to RAS+. */
export function toCanonicalField<T extends Values>(field: Field<T>, grid: Grid): Field<T> {
  const shape: Shape = [0, 0, 0];
  const strides: Triple = [0, 0, 0];
  let offset = field.offset;
  grid.canonicalTransform().forEach(([target, flip], axis) => {
    shape[target] = field.shape[axis]!;
    strides[target] = flip * field.strides[axis]!;
    if (flip < 0) offset += field.strides[axis]! * (field.shape[axis]! - 1);
  });
  return new Field(field.values, shape, strides, offset);
}

/** View of an array on `grid.canonical()` with its axes as those of `grid`. */
export function fromCanonicalField<T extends Values>(field: Field<T>, grid: Grid): Field<T> {
  const shape: Shape = [0, 0, 0];
  const strides: Triple = [0, 0, 0];
  let offset = field.offset;
  grid.canonicalTransform().forEach(([source, flip], axis) => {
    shape[axis] = field.shape[source]!;
    strides[axis] = flip * field.strides[source]!;
    if (flip < 0) offset += field.strides[source]! * (field.shape[source]! - 1);
  });
  return new Field(field.values, shape, strides, offset);
}

/** Smallest box that holds what is nonzero, with a margin clipped to the array; null if nothing is. */
export function findBox(mask: Field<Values>, margin: number | readonly number[] = 0): Box | null {
  const low: Triple = [Infinity, Infinity, Infinity];
  const high: Triple = [-1, -1, -1];
  const [nx, ny, nz] = mask.shape;
  const { values } = mask;
  const step = mask.strides[0];
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = mask.index(0, y, z);
      let first = 0;
      while (first < nx && !values[row + first * step]) first++;
      if (first === nx) continue;
      let last = nx - 1;
      while (!values[row + last * step]) last--;
      low[0] = Math.min(low[0], first);
      high[0] = Math.max(high[0], last);
      low[1] = Math.min(low[1], y);
      high[1] = Math.max(high[1], y);
      low[2] = Math.min(low[2], z);
      high[2] = Math.max(high[2], z);
    }
  }
  if (high[0] < 0) return null;
  return [0, 1, 2].map((axis) => {
    const wider = typeof margin === "number" ? margin : margin[axis]!;
    return [Math.max(low[axis]! - wider, 0), Math.min(high[axis]! + 1 + wider, mask.shape[axis]!)];
  }) as Box;
}
