/** Small operations on small masks and fields, as scipy.ndimage does them. */

import { Field, zeros } from "../image/field";

type Mask = Field<Uint8Array>;

/** Voxels whose six neighbours are all in; beyond the array there is nothing. */
export function erode(mask: Mask, times: number): Mask {
  for (let k = 0; k < times; k++) mask = step(mask, (own, around) => own === 1 && around === 6);
  return mask;
}

/** Voxels that are in, or have a neighbour that is. */
export function dilate(mask: Mask, times: number): Mask {
  for (let k = 0; k < times; k++) mask = step(mask, (own, around) => own === 1 || around > 0);
  return mask;
}

function step(mask: Mask, test: (own: number, around: number) => boolean): Mask {
  const values = mask.flat();
  const [nx, ny, nz] = mask.shape;
  const out = new Uint8Array(values.length);
  let i = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, i++) {
        let around = 0;
        if (x > 0) around += values[i - 1]!;
        if (x < nx - 1) around += values[i + 1]!;
        if (y > 0) around += values[i - nx]!;
        if (y < ny - 1) around += values[i + nx]!;
        if (z > 0) around += values[i - nx * ny]!;
        if (z < nz - 1) around += values[i + nx * ny]!;
        out[i] = test(values[i]!, around) ? 1 : 0;
      }
    }
  }
  return new Field(out, mask.shape);
}

/** Voxel faces between inside and outside; beyond the array is outside. */
export function countFaces(mask: Mask): number {
  const values = mask.flat();
  const strides = [1, mask.shape[0], mask.shape[0] * mask.shape[1]];
  let faces = 0;
  strides.forEach((stride, axis) => {
    const length = mask.shape[axis]!;
    for (let i = 0; i < values.length; i++) {
      const place = Math.floor(i / stride) % length;
      if (place === 0 && values[i]) faces++;
      if (values[i] !== (place === length - 1 ? 0 : values[i + stride])) faces++;
    }
  });
  return faces;
}

/** Means over blocks of so many voxels about each; beyond the array everything is 0. */
export function average(values: Field, width: number): Field {
  let current = values;
  const before = Math.floor(width / 2); // of an even width one more lies before than after
  for (let axis = 0; axis < 3; axis++) {
    const length = values.shape[axis]!;
    const out = zeros(values.shape);
    const stride = out.strides[axis]!;
    for (let i = 0; i < out.values.length; i++) {
      const place = Math.floor(i / stride) % length;
      let sum = 0;
      for (let k = -before; k < width - before; k++) {
        if (place + k >= 0 && place + k < length) sum += current.values[i + k * stride]!;
      }
      out.values[i] = sum / width;
    }
    current = out;
  }
  return current;
}
