/**
 * From a thresholded mask to a clean one, and its surface: distance and border.
 *
 * Works inside the brain's box: over a full field each of these steps costs seconds.
 */

import type { Triple } from "../image/affine";
import { emptyMask, Field, select, zeros } from "../image/field";
import { findBox } from "../image/grid";
import { fillHoles, keepLargest } from "./pieces";

/** Keep the largest piece and fill its holes; empty if the mask is. */
export function cleanMask(mask: Field<Uint8Array>): Field<Uint8Array> {
  const cleaned = emptyMask(mask.shape);
  const box = findBox(mask);
  if (!box) return cleaned;
  const piece = fillHoles(keepLargest(mask.crop(box).copy()));
  paste(piece, cleaned.crop(box));
  return cleaned;
}

/** Copy values into a view of the same shape. */
export function paste<T extends Float32Array | Uint8Array>(from: Field<T>, to: Field<T>): void {
  const [nx, ny, nz] = from.shape;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      let source = from.index(0, y, z);
      let target = to.index(0, y, z);
      for (let x = 0; x < nx; x++) {
        to.values[target] = from.values[source]!;
        source += from.strides[0];
        target += to.strides[0];
      }
    }
  }
}

/**
 * Measure how far each voxel's centre lies from the mask's surface, in mm, negative inside.
 *
 * The surface lies halfway between a voxel in and its neighbour out: the exact Euclidean distance
 * to the nearest centre on the other side is averaged with that of the face neighbour which lies
 * nearest to the other side. The edge of the array is no surface. What lies farther from the surface
 * than `reach` mm may be infinite, with its sign: a small one saves time.
 */
export function makeSignedDistance(mask: Field<Uint8Array>, voxelSize: Triple, reach = Infinity): Field {
  const distance = new Field(measureOutside(mask.flat(), mask.shape, voxelSize, reach), mask.shape);
  const box = findBox(mask, 1);
  if (!box) return distance;
  const around = mask.crop(box).copy();
  const depth = measureOutside(around.values.map((value) => (value ? 0 : 1)), around.shape, voxelSize, reach);
  const part = distance.crop(box);
  part.forEach((place, count) => {
    part.values[place]! -= depth[count]!;
  });
  return distance;
}

/**
 * Grow or shrink a mask by a distance in mm: plus grows. Where the field cuts the mask it is not
 * shrunk from the cut.
 */
export function moveBorder(mask: Field<Uint8Array>, voxelSize: Triple, border: number): Field<Uint8Array> {
  const moved = emptyMask(mask.shape);
  const box = findBox(mask, findReach(border, voxelSize));
  if (!box) return moved;
  if (border === 0) return mask.copy();
  paste(within(makeSignedDistance(mask.crop(box).copy(), voxelSize, Math.abs(border)), border), moved.crop(box));
  return moved;
}

/** Mask of what lies at most so many mm from a surface. */
export function within(distance: Field, border: number): Field<Uint8Array> {
  const most = Math.fround(border); // as numpy compares a number with single precision
  return select(distance, (value) => value <= most);
}

/** Voxels along each axis that a mask may grow by. */
export function findReach(border: number, voxelSize: Triple): Triple {
  return voxelSize.map((size) => Math.ceil(Math.max(border, 0) / size) + 1) as Triple;
}

/** Distance in mm from each voxel outside a mask to its surface; 0 inside. */
function measureOutside(inside: Uint8Array, shape: Triple, voxelSize: Triple, reach: number): Float32Array {
  const centre = measureToCentres(inside, shape, voxelSize, reach);
  const nearest = centre.slice();
  shape.forEach((length, axis) => takeNeighbours(centre, nearest, shape.slice(0, axis).reduce((a, b) => a * b, 1), length));
  for (let i = 0; i < nearest.length; i++) nearest[i] = (nearest[i]! + centre[i]!) / 2;
  return nearest;
}

/** Take the least of each value and its two neighbours along an axis of some stride and length. */
function takeNeighbours(values: Float32Array, least: Float32Array, stride: number, length: number): void {
  const block = stride * length;
  for (let start = 0; start < values.length; start += block) {
    for (let i = start; i < start + block - stride; i++) {
      const next = i + stride;
      if (values[next]! < least[i]!) least[i] = values[next]!;
      if (values[i]! < least[next]!) least[next] = values[i]!;
    }
  }
}

/** Euclidean distance in mm to the nearest voxel that is nonzero, rounded at each step as in Python. */
function measureToCentres(inside: Uint8Array, shape: Triple, voxelSize: Triple, reach: number): Float32Array {
  const squares = zeros(shape);
  for (let i = 0; i < inside.length; i++) squares.values[i] = inside[i] ? 0 : Infinity;
  const farthest = (reach + Math.max(...voxelSize)) ** 2; // a centre lies up to half a voxel farther than the surface
  for (const axis of [2, 1, 0]) passOn(squares, axis, voxelSize[axis]!, farthest);
  return squares.values.map(Math.sqrt);
}

/** Let squared distances reach along an axis: the least of each plus the way squared. */
function passOn(squares: Field, axis: number, size: number, farthest: number): void {
  const length = squares.shape[axis]!;
  const ways = Float32Array.from({ length }, (_, step) => (step * size) ** 2);
  const steps = ways.filter((way) => way <= farthest).length;
  const [first, second] = [0, 1, 2].filter((k) => k !== axis) as [number, number];
  const line = new Float32Array(length);
  for (let k = 0; k < squares.shape[second]!; k++) {
    for (let j = 0; j < squares.shape[first]!; j++) {
      const start = k * squares.strides[second]! + j * squares.strides[first]!;
      passAlong(line, squares.values, start, squares.strides[axis]!, ways, steps);
    }
  }
}

function passAlong(line: Float32Array, values: Float32Array, start: number, stride: number, ways: Float32Array, steps: number): void {
  const { length } = line;
  let isReached = false;
  for (let i = 0, place = start; i < length; i++, place += stride) {
    line[i] = values[place]!;
    isReached ||= line[i] !== Infinity;
  }
  if (!isReached) return;
  for (let i = 0, place = start; i < length; i++, place += stride) {
    let least = line[i]!;
    for (let step = 1; step < steps && ways[step]! < least; step++) {
      const way = ways[step]!;
      if (step <= i) least = Math.min(least, line[i - step]! + way);
      if (step < length - i) least = Math.min(least, line[i + step]! + way);
    }
    values[place] = least;
  }
}
