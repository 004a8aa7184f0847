// The shape of a whole mask: largest piece, holes, smoothing, interpolation between two slices.
// Pure functions on typed arrays, as in `draw.js`: masks are changed in place, and the indices of
// the voxels that changed are returned.

import { ACROSS, findSteps } from "./draw.js";

/** Millimetres: standard deviation of the Gaussian that smooths a mask. */
export const SMOOTHING_MM = 1.5;

/** Write one mask over another. @returns {Uint32Array} */
export function replaceMask(mask, wanted) {
  const changed = [];
  for (let i = 0; i < mask.length; i++)
    if (mask[i] !== wanted[i]) {
      mask[i] = wanted[i];
      changed.push(i);
    }
  return Uint32Array.from(changed);
}

/** Box of the voxels inside, as [low, high] per axis with high included; null if there is none. */
export function findBox(mask, { shape: [nx, ny, nz] }) {
  const low = [nx, ny, nz], high = [-1, -1, -1];
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++)
        if (mask[i]) {
          if (x < low[0]) low[0] = x;
          if (x > high[0]) high[0] = x;
          if (y < low[1]) low[1] = y;
          if (y > high[1]) high[1] = y;
          if (z < low[2]) low[2] = z;
          high[2] = z;
        }
  return high[0] < 0 ? null : { low, high };
}

/** Keep the largest piece: voxels that touch by a face. @returns {Uint32Array} */
export function keepLargestPiece(mask, grid) {
  const pieces = new Uint32Array(mask.length), sizes = [0];
  for (let i = 0; i < mask.length; i++)
    if (mask[i] && !pieces[i]) sizes.push(flood(pieces, grid, i, sizes.length, (j) => mask[j] && !pieces[j]));
  const largest = sizes.indexOf(Math.max(...sizes));
  return replaceMask(mask, mask.map((value, i) => value && pieces[i] === largest ? 1 : 0));
}

/** Fill holes: what is outside of the mask but not connected to the edge of the field. @returns {Uint32Array} */
export function fillHoles(mask, grid) {
  const { shape: [nx, ny, nz] } = grid, outer = new Uint32Array(mask.length);
  const isOpen = (j) => !mask[j] && !outer[j];
  const start = (i) => { if (isOpen(i)) flood(outer, grid, i, 1, isOpen); };
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++)
        if (!x || !y || !z || x === nx - 1 || y === ny - 1 || z === nz - 1) start(i);
  return replaceMask(mask, mask.map((_, i) => (outer[i] ? 0 : 1)));
}

// Number all voxels that are reached from one through faces; return how many they are.
function flood(numbers, grid, first, number, isFree) {
  const { shape: [nx, ny, nz] } = grid, [, row, plane] = findSteps(grid);
  const stack = [first];
  let count = 0;
  numbers[first] = number;
  const visit = (i) => { if (isFree(i)) { numbers[i] = number; stack.push(i); } };
  while (stack.length) {
    const i = stack.pop(), x = i % nx, y = Math.floor(i / row) % ny, z = Math.floor(i / plane);
    count += 1;
    if (x > 0) visit(i - 1);
    if (x < nx - 1) visit(i + 1);
    if (y > 0) visit(i - row);
    if (y < ny - 1) visit(i + row);
    if (z > 0) visit(i - plane);
    if (z < nz - 1) visit(i + plane);
  }
  return count;
}

/**
 * Smooth the surface: a Gaussian over the mask, in mm along each axis, cut at one half.
 * @returns {Uint32Array}
 */
export function smoothMask(mask, grid, mm = SMOOTHING_MM) {
  const box = findBox(mask, grid);
  if (!box) return new Uint32Array();
  const steps = findSteps(grid), kernels = grid.size.map((size) => makeKernel(mm / size));
  const low = box.low.map((v, a) => Math.max(v - (kernels[a].length >> 1), 0));
  const high = box.high.map((v, a) => Math.min(v + (kernels[a].length >> 1), grid.shape[a] - 1));
  const shape = low.map((v, a) => high[a] - v + 1);
  let values = new Float32Array(shape[0] * shape[1] * shape[2]);
  const place = (x, y, z) => low[0] + x + (low[1] + y) * steps[1] + (low[2] + z) * steps[2];
  for (let z = 0, i = 0; z < shape[2]; z++)
    for (let y = 0; y < shape[1]; y++)
      for (let x = 0; x < shape[0]; x++, i++) values[i] = mask[place(x, y, z)];
  for (let axis = 0; axis < 3; axis++) values = blur(values, shape, axis, kernels[axis]);
  const changed = [];
  for (let z = 0, i = 0; z < shape[2]; z++)
    for (let y = 0; y < shape[1]; y++)
      for (let x = 0; x < shape[0]; x++, i++) {
        const index = place(x, y, z), value = values[i] >= 0.5 ? 1 : 0;
        if (mask[index] !== value) {
          mask[index] = value;
          changed.push(index);
        }
      }
  return Uint32Array.from(changed);
}

// Weights of a Gaussian with a standard deviation in voxels; the sum is 1.
function makeKernel(sigma) {
  const reach = Math.max(Math.ceil(2.5 * sigma), 0);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

// Beyond the edge the values at the edge go on.
function blur(values, shape, axis, kernel) {
  const reach = kernel.length >> 1, step = [1, shape[0], shape[0] * shape[1]][axis], count = shape[axis];
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const here = Math.floor(i / step) % count;
    let sum = 0;
    for (let k = -reach; k <= reach; k++)
      sum += kernel[k + reach] * values[i + (Math.min(Math.max(here + k, 0), count - 1) - here) * step];
    result[i] = sum;
  }
  return result;
}

/**
 * Interpolate the slices between two: their signed distances are blended, cut at zero.
 * @param {number} axis   axis across the slices
 * @param {number} first  index of one slice
 * @param {number} last   index of the other
 * @returns {Uint32Array}
 */
export function interpolateSlices(mask, grid, axis, first, last) {
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  const steps = findSteps(grid), [right, up] = ACROSS[axis], [nu, nv] = [grid.shape[right], grid.shape[up]];
  const size = [grid.size[right], grid.size[up]], changed = [];
  const [below, above] = [low, high].map((slice) => {
    const flat = new Uint8Array(nu * nv);
    for (let v = 0, i = 0; v < nv; v++)
      for (let u = 0; u < nu; u++, i++) flat[i] = mask[slice * steps[axis] + u * steps[right] + v * steps[up]];
    return measureDistance(flat, [nu, nv], size);
  });
  for (let slice = low + 1; slice < high; slice++) {
    const share = (slice - low) / (high - low);
    for (let v = 0, i = 0; v < nv; v++)
      for (let u = 0; u < nu; u++, i++) {
        const index = slice * steps[axis] + u * steps[right] + v * steps[up];
        const value = (1 - share) * below[i] + share * above[i] < 0 ? 1 : 0;
        if (mask[index] !== value) {
          mask[index] = value;
          changed.push(index);
        }
      }
  }
  return Uint32Array.from(changed);
}

/**
 * Signed distance in mm from each pixel to the outline of a flat mask, negative inside (exact,
 * Felzenszwalb and Huttenlocher 2012).
 * @param {Uint8Array} flat
 * @param {[number, number]} shape
 * @param {[number, number]} size
 * @returns {Float32Array}
 */
export function measureDistance(flat, shape, size) {
  const inside = squaredDistance(flat, 0, shape, size), outside = squaredDistance(flat, 1, shape, size);
  return Float32Array.from(flat, (value, i) => value ? -Math.sqrt(inside[i]) : Math.sqrt(outside[i]));
}

// Squared mm from each pixel to the nearest one that has a value.
function squaredDistance(flat, value, [nu, nv], [du, dv]) {
  const FAR = 1e10, squares = Float64Array.from(flat, (v) => (v === value ? 0 : FAR));
  for (let u = 0; u < nu; u++) transform(squares, u, nu, nv, dv);
  for (let v = 0; v < nv; v++) transform(squares, v * nu, 1, nu, du);
  return squares;
}

// Lower envelope of parabolas along one line of pixels.
function transform(squares, start, step, count, size) {
  const values = Float64Array.from({ length: count }, (_, i) => squares[start + i * step]);
  const bases = new Int32Array(count), edges = new Float64Array(count + 1), area = size * size;
  let last = 0;
  [edges[0], edges[1]] = [-Infinity, Infinity];
  const meet = (i, j) => (values[i] + area * i * i - values[j] - area * j * j) / (2 * area * (i - j));
  for (let i = 1; i < count; i++) {
    let edge = meet(i, bases[last]);
    while (edge <= edges[last]) edge = meet(i, bases[--last]);
    bases[++last] = i;
    [edges[last], edges[last + 1]] = [edge, Infinity];
  }
  for (let i = 0, k = 0; i < count; i++) {
    while (edges[k + 1] < i) k++;
    squares[start + i * step] = area * (i - bases[k]) ** 2 + values[bases[k]];
  }
}
