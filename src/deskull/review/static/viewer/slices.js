// What is drawn of a scan: slices as pixels, outlines as paths, and where they lie on a canvas.
// Pure functions; no page, no state. Voxels are indexed along axes nearest to right, anterior and
// superior; a slice runs to the right along its first axis and up along its second.

import { ACROSS, findSteps } from "../editing/draw.js";

/** Colours, as the pictures of a report have them; the colour-blind can distinguish them. */
export const MASK_COLOUR = [255, 106, 31], OTHER_COLOUR = [64, 156, 255];

/** Read the NIfTI file that deskull sends: 16 bits, little-endian, scaled. */
export function readScan(buffer) {
  const head = new DataView(buffer);
  const shape = [42, 44, 46].map((at) => head.getInt16(at, true));
  const size = [80, 84, 88].map((at) => head.getFloat32(at, true));
  const data = new Int16Array(buffer, head.getFloat32(108, true), shape[0] * shape[1] * shape[2]);
  return { shape, size, data, slope: head.getFloat32(112, true), inter: head.getFloat32(116, true) };
}

/** Intensities below which the given shares of voxels lie; of those in a mask if there is one. */
export function findPercentiles({ data, slope, inter }, shares, mask = null) {
  const sample = [], stride = Math.max(1, Math.floor(data.length / 400_000));
  for (let i = 0; i < data.length; i += stride) if (!mask || mask[i]) sample.push(data[i]);
  if (!sample.length) return mask ? findPercentiles({ data, slope, inter }, shares) : shares.map(() => 0);
  const sorted = Int16Array.from(sample).sort();
  return shares.map((share) => sorted[Math.round(share * (sorted.length - 1))] * slope + inter);
}

/** The middle of a mask, in voxels; that of the field if it is empty. */
export function findMiddle({ shape }, mask) {
  const [nx, ny, nz] = shape, sum = [0, 0, 0];
  let count = 0;
  for (let z = 0, i = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++, i++)
    if (mask[i]) { count += 1; sum[0] += x; sum[1] += y; sum[2] += z; }
  return count ? sum.map((total) => total / count) : shape.map((n) => n / 2);
}

/**
 * Paint a slice: greys of the scan, and colours of masks over it.
 * @param {object} scene  volume, mask, other, window [black, white], fill (opacity), stripped
 * @returns {ImageData}   first row at the top
 */
export function paintSlice(scene, axis, index, stripped = false) {
  const { volume, mask, other, window: [black, white], fill } = scene;
  const steps = findSteps(volume), [right, up] = ACROSS[axis], [nu, nv] = [volume.shape[right], volume.shape[up]];
  const image = new ImageData(nu, nv), pixels = image.data;
  const gain = (255 * volume.slope) / (white - black || 1), zero = ((volume.inter - black) * 255) / (white - black || 1);
  for (let v = 0; v < nv; v++)
    for (let u = 0; u < nu; u++) {
      const i = index * steps[axis] + u * steps[right] + v * steps[up], at = 4 * ((nv - 1 - v) * nu + u);
      const grey = stripped && !mask[i] ? 0 : Math.min(Math.max(volume.data[i] * gain + zero, 0), 255);
      const colour = stripped ? null : chooseColour(mask[i], other?.[i], scene.difference);
      const share = colour ? fill : 0;
      for (let c = 0; c < 3; c++) pixels[at + c] = share ? (1 - share) * grey + share * colour[c] : grey;
      pixels[at + 3] = 255;
    }
  return image;
}

// With a second mask only the difference is filled: what one has and the other has not.
function chooseColour(inside, inOther, difference) {
  if (!difference) return inside ? MASK_COLOUR : null;
  return inside && !inOther ? MASK_COLOUR : inOther && !inside ? OTHER_COLOUR : null;
}

/** Outline of a mask on a slice, along the edges of voxels, in pixels of `paintSlice`. */
export function traceOutline(mask, grid, axis, index) {
  const steps = findSteps(grid), [right, up] = ACROSS[axis], [nu, nv] = [grid.shape[right], grid.shape[up]];
  const path = new Path2D(), start = index * steps[axis];
  const at = (u, v) => u >= 0 && v >= 0 && u < nu && v < nv && mask[start + u * steps[right] + v * steps[up]] > 0;
  const draw = (x1, y1, x2, y2) => { path.moveTo(x1, y1); path.lineTo(x2, y2); };
  for (let v = 0; v <= nv; v++)
    for (let u = 0; u <= nu; u++) {
      const here = at(u, v), y = nv - v;
      if (here !== at(u - 1, v)) draw(u, y, u, y - 1);
      if (here !== at(u, v - 1)) draw(u, y, u + 1, y);
    }
  return path;
}

/** Where a slice lies on a canvas: one scale in mm, zoomed and moved; left and right may be swapped. */
export class Frame {
  constructor(grid, axis, width, height, { zoom = 1, move = [0, 0] } = {}, mirrored = false) {
    const [right, up] = ACROSS[axis];
    [this.nu, this.nv] = [grid.shape[right], grid.shape[up]];
    [this.du, this.dv] = [grid.size[right], grid.size[up]];
    this.scale = 0.96 * zoom * Math.min(width / (this.nu * this.du), height / (this.nv * this.dv));
    this.sign = mirrored && axis !== 0 ? -1 : 1;
    this.x = width / 2 + move[0] - (this.sign * this.scale * this.nu * this.du) / 2;
    this.y = height / 2 + move[1] - (this.scale * this.nv * this.dv) / 2;
  }

  /** From pixels of `paintSlice` to those of the canvas. */
  get matrix() {
    return new DOMMatrix([this.sign * this.scale * this.du, 0, 0, this.scale * this.dv, this.x, this.y]);
  }

  /** Voxel (right, up) at a point of the canvas; whole numbers at the centres of voxels. */
  toVoxel(x, y) {
    return [(this.sign * (x - this.x)) / (this.scale * this.du) - 0.5, this.nv - (y - this.y) / (this.scale * this.dv) - 0.5];
  }

  /** Point of the canvas at a voxel (right, up). */
  toCanvas(u, v) {
    return [this.x + this.sign * (u + 0.5) * this.scale * this.du, this.y + (this.nv - v - 0.5) * this.scale * this.dv];
  }
}
