// Drawing on a mask: brush strokes in millimetres, and areas that are drawn around.
// Pure functions on typed arrays; no page, no canvas. A mask is a Uint8Array with x fastest,
// 0 outside and 1 inside. All functions change it in place and return the indices of the voxels
// that changed, as `history.js` takes them.

/**
 * @typedef {object} Grid
 * @property {[number, number, number]} shape  voxels along x, y and z
 * @property {[number, number, number]} size   edge lengths of a voxel in mm
 */

/** Axes that run to the right and up in the plane across an axis (0 sagittal, 1 coronal, 2 axial). */
export const ACROSS = [[1, 2], [0, 2], [0, 1]];

/** @param {Grid} grid @returns {[number, number, number]} steps in the array along each axis */
export function findSteps({ shape }) {
  return [1, shape[0], shape[0] * shape[1]];
}

/**
 * Draw a stroke: all voxels whose centres lie within a radius of a line, and those under its ends.
 * @param {Uint8Array} mask
 * @param {Grid} grid
 * @param {number[]} from  start in voxels, (x, y, z); may lie between voxels
 * @param {number[]} to    end in voxels
 * @param {number} radius  in mm
 * @param {0 | 1} value    what is written
 * @param {number} axis    -1 draws a ball; else a disc in the plane across this axis
 * @returns {Uint32Array}
 */
export function drawStroke(mask, grid, from, to, radius, value, axis = -1) {
  const { shape, size } = grid, steps = findSteps(grid), changed = [];
  const low = [], high = [];
  for (let a = 0; a < 3; a++) {
    const reach = a === axis ? 0 : radius / size[a];
    const [first, last] = [Math.min(from[a], to[a]), Math.max(from[a], to[a])];
    low[a] = Math.max(a === axis ? Math.round(first) : Math.min(Math.ceil(first - reach), Math.round(first)), 0);
    high[a] = Math.min(a === axis ? Math.round(last) : Math.max(Math.floor(last + reach), Math.round(last)), shape[a] - 1);
  }
  const start = from.map((v, a) => a === axis ? 0 : v * size[a]);
  const along = to.map((v, a) => a === axis ? 0 : v * size[a] - start[a]);
  const length = along[0] ** 2 + along[1] ** 2 + along[2] ** 2;
  const ends = [from, to].map((end) => end.map(Math.round));
  for (let z = low[2]; z <= high[2]; z++)
    for (let y = low[1]; y <= high[1]; y++)
      for (let x = low[0]; x <= high[0]; x++) {
        const index = x + y * steps[1] + z * steps[2];
        if (mask[index] === value) continue;
        const here = [x, y, z].map((v, a) => a === axis ? 0 : v * size[a] - start[a]);
        const dot = here[0] * along[0] + here[1] * along[1] + here[2] * along[2];
        const share = length ? Math.min(Math.max(dot / length, 0), 1) : 0;
        let apart = 0;
        for (let a = 0; a < 3; a++) apart += (here[a] - share * along[a]) ** 2;
        if (apart <= radius * radius || ends.some((end) => end[0] === x && end[1] === y && end[2] === z)) {
          mask[index] = value;
          changed.push(index);
        }
      }
  return Uint32Array.from(changed);
}

/**
 * Fill or cut what lies within a line drawn on one slice: voxels whose centres are inside.
 * @param {Uint8Array} mask
 * @param {Grid} grid
 * @param {number} axis      axis across the plane
 * @param {number} slice     index along it
 * @param {number[][]} line  corners in voxels: (right, up) of the plane, see ACROSS
 * @param {0 | 1} value
 * @returns {Uint32Array}
 */
export function fillArea(mask, grid, axis, slice, line, value) {
  const steps = findSteps(grid), [right, up] = ACROSS[axis], changed = [];
  for (let v = 0; v < grid.shape[up]; v++) {
    const crossings = [];
    for (let i = 0; i < line.length; i++) {
      const [[x1, y1], [x2, y2]] = [line[i], line[(i + 1) % line.length]];
      if (y1 <= v !== y2 <= v) crossings.push(x1 + ((v - y1) / (y2 - y1)) * (x2 - x1));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2)
      for (let u = Math.max(Math.ceil(crossings[i]), 0); u <= Math.min(crossings[i + 1], grid.shape[right] - 1); u++) {
        const index = slice * steps[axis] + u * steps[right] + v * steps[up];
        if (mask[index] !== value) {
          mask[index] = value;
          changed.push(index);
        }
      }
  }
  return Uint32Array.from(changed);
}
