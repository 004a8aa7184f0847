/**
 * The one resampler: intensities or maps on one grid, read off at the voxels of another.
 *
 * Both grids are first brought to the axes nearest to RAS+, so that the stored orientation of a
 * scan decides nothing. Where the target is coarser, blocks of source voxels are averaged first,
 * so that nothing aliases.
 */

import * as affines from "./affine";
import type { Matrix, Triple } from "./affine";
import { Field, zeros } from "./field";
import { type Box, Grid, fromCanonicalField, toCanonicalField } from "./grid";

/** Voxels by which axes may stray over the whole field and still be parallel. */
const PARALLEL = 1e-4;

/** Read an array off, linearly, at the voxel centres of another grid; `fill` outside of its field. */
export function resample(field: Field, source: Grid, target: Grid, fill: number): Field {
  let values = toCanonicalField(field, source);
  let grid = source.canonical();
  const wanted = target.canonical();
  const box = boxOfTarget(grid, wanted);
  if (box.some(([start, stop]) => stop <= start)) {
    const empty = zeros(target.shape);
    empty.values.fill(fill);
    return empty;
  }
  values = values.crop(box);
  grid = grid.crop(box);
  [values, grid] = averageBlocks(values, grid, blockSizes(grid, wanted));
  const matrix = roundMatrix(affines.multiply(affines.invertAffine(grid.affine), wanted.affine));
  const turned = [0, 1, 2].map((k) =>
    [0, 1, 2].reduce((sum, j) => sum + (j === k ? 0 : Math.abs(matrix[k]![j]!) * wanted.shape[j]!), 0),
  );
  const out = Math.max(...turned) < PARALLEL ? alongAxes(values, matrix, wanted.shape, fill) : anyWay(values, matrix, wanted.shape, fill);
  return fromCanonicalField(out, target);
}

/** Rounding takes away the 1e-14 by which a flipped and an unflipped affine differ. */
function roundMatrix(matrix: Matrix): Matrix {
  return matrix.map((row) => row.map((value) => Math.round(value * 1e9) / 1e9));
}

/** Interpolate between grids with parallel axes, one axis after the other: far less work. */
function alongAxes(values: Field, matrix: Matrix, shape: Triple, fill: number): Field {
  for (let axis = 0; axis < 3; axis++) {
    values = alongAxis(values, axis, shape[axis]!, matrix[axis]![axis]!, matrix[axis]![3]!, fill);
  }
  return values;
}

function alongAxis(values: Field, axis: number, count: number, step: number, start: number, fill: number): Field {
  const length = values.shape[axis]!;
  const out = zeros(values.shape.map((n, k) => (k === axis ? count : n)) as Triple);
  const [first, second] = [0, 1, 2].filter((k) => k !== axis) as [number, number];
  const stride = values.strides[axis]!;
  for (let i = 0; i < count; i++) {
    // Places count from a layer of `fill` that lies before the first voxel, as after the last.
    const place = Math.min(Math.max(step * i + start + 1, 0), length + 1);
    const below = Math.min(Math.trunc(place), length);
    const share = Math.fround(place - below);
    const hasLower = below > 0;
    const hasUpper = below < length;
    for (let k = 0; k < values.shape[second]!; k++) {
      let from = values.offset + k * values.strides[second]! + (below - 1) * stride;
      let to = i * out.strides[axis]! + k * out.strides[second]!;
      for (let j = 0; j < values.shape[first]!; j++) {
        const lower = hasLower ? values.values[from]! : fill;
        const upper = hasUpper ? values.values[from + stride]! : fill;
        out.values[to] = (upper - lower) * share + lower;
        from += values.strides[first]!;
        to += out.strides[first]!;
      }
    }
  }
  return out;
}

/** Interpolate between any two grids; each of the eight neighbours outside of the field is `fill`. */
function anyWay(field: Field, matrix: Matrix, shape: Triple, fill: number): Field {
  const values = field.copy();
  const data = values.values;
  const [mx, my, mz] = values.shape;
  const [, rowStep, layerStep] = values.strides;
  const out = zeros(shape);
  const read = (x: number, y: number, z: number) =>
    x < 0 || y < 0 || z < 0 || x >= mx || y >= my || z >= mz ? fill : data[x + y * rowStep + z * layerStep]!;
  const [[ax, bx, cx, dx], [ay, by, cy, dy], [az, bz, cz, dz]] = matrix as [number[], number[], number[]] as [
    [number, number, number, number],
    [number, number, number, number],
    [number, number, number, number],
  ];
  let count = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++, count++) {
        const x = ax * i + bx * j + cx * k + dx;
        const y = ay * i + by * j + cy * k + dy;
        const z = az * i + bz * j + cz * k + dz;
        const x0 = Math.floor(x);
        const y0 = Math.floor(y);
        const z0 = Math.floor(z);
        if (x0 < -1 || y0 < -1 || z0 < -1 || x0 >= mx || y0 >= my || z0 >= mz) {
          out.values[count] = fill;
          continue;
        }
        const u = x - x0;
        const v = y - y0;
        const w = z - z0;
        const inside = x0 >= 0 && y0 >= 0 && z0 >= 0 && x0 < mx - 1 && y0 < my - 1 && z0 < mz - 1;
        if (inside) {
          const p = x0 + y0 * rowStep + z0 * layerStep;
          const near = mix(data[p]!, data[p + 1]!, data[p + rowStep]!, data[p + rowStep + 1]!, u, v);
          const q = p + layerStep;
          const far = mix(data[q]!, data[q + 1]!, data[q + rowStep]!, data[q + rowStep + 1]!, u, v);
          out.values[count] = near + (far - near) * w;
          continue;
        }
        const near = mix(read(x0, y0, z0), read(x0 + 1, y0, z0), read(x0, y0 + 1, z0), read(x0 + 1, y0 + 1, z0), u, v);
        const z1 = z0 + 1;
        const far = mix(read(x0, y0, z1), read(x0 + 1, y0, z1), read(x0, y0 + 1, z1), read(x0 + 1, y0 + 1, z1), u, v);
        out.values[count] = near + (far - near) * w;
      }
    }
  }
  return out;
}

/** Interpolate within the square of four neighbours. */
function mix(a: number, b: number, c: number, d: number, u: number, v: number): number {
  const lower = a + (b - a) * u;
  const upper = c + (d - c) * u;
  return lower + (upper - lower) * v;
}

/** Part of `grid` that the target can reach, on whole blocks from the first voxel on. */
function boxOfTarget(grid: Grid, target: Grid): Box {
  const index = target.corners.map((corner) => grid.toIndex(target.toMm(corner)).map((value) => Math.round(value * 1e6) / 1e6));
  const blocks = blockSizes(grid, target);
  return [0, 1, 2].map((axis) => {
    const places = index.map((point) => point[axis]!);
    const block = blocks[axis]!;
    const start = Math.floor(Math.min(...places) / block - 2) * block;
    const stop = Math.ceil(Math.max(...places) / block + 3) * block;
    return [Math.max(start, 0), Math.min(stop, grid.shape[axis]!)];
  }) as Box;
}

/** Source voxels that fit into one of the target's, along each canonical axis. */
function blockSizes(grid: Grid, target: Grid): Triple {
  const coarse = Math.min(...target.voxelSize);
  return grid.voxelSize.map((size) => Math.max(1, Math.trunc(coarse / size + 0.01))) as Triple;
}

/** Mean over blocks of voxels; the last block of an axis may be repeated at its edge. */
function averageBlocks(values: Field, grid: Grid, blocks: Triple): [Field, Grid] {
  let shape = values.shape;
  const origin = affines.column(grid.affine, 3);
  const steps = affines.linear(grid.affine).map((row) => [...row]);
  blocks.forEach((size, axis) => {
    if (size === 1) return;
    values = averageAlong(values, axis, size);
    shape = values.shape;
    for (let k = 0; k < 3; k++) {
      origin[k] = origin[k]! + (grid.affine[k]![axis]! * (size - 1)) / 2;
      steps[k]![axis] = grid.affine[k]![axis]! * size;
    }
  });
  return [values, new Grid(shape, affines.makeAffine(steps, origin))];
}

function averageAlong(values: Field, axis: number, size: number): Field {
  const length = values.shape[axis]!;
  const count = Math.ceil(length / size);
  const out = zeros(values.shape.map((n, k) => (k === axis ? count : n)) as Triple);
  const [first, second] = [0, 1, 2].filter((k) => k !== axis) as [number, number];
  for (let i = 0; i < count; i++) {
    for (let part = 0; part < size; part++) {
      const layer = Math.min(i * size + part, length - 1);
      for (let k = 0; k < values.shape[second]!; k++) {
        let from = values.offset + k * values.strides[second]! + layer * values.strides[axis]!;
        let to = i * out.strides[axis]! + k * out.strides[second]!;
        for (let j = 0; j < values.shape[first]!; j++) {
          out.values[to]! += values.values[from]!;
          from += values.strides[first]!;
          to += out.strides[first]!;
        }
      }
    }
  }
  const scale = Math.fround(size);
  for (let i = 0; i < out.values.length; i++) out.values[i]! /= scale;
  return out;
}
