/** An array over three axes: values, and how far apart in memory the steps along each axis are. */

import type { Triple } from "./affine";

export type Values = Float32Array | Uint8Array | Int32Array;

/** A view of values: crops, flips and permutations share them, as numpy's views do. */
export class Field<T extends Values = Float32Array> {
  constructor(
    readonly values: T,
    readonly shape: Triple,
    readonly strides: Triple = [1, shape[0], shape[0] * shape[1]],
    readonly offset = 0,
  ) {}

  get size(): number {
    return this.shape[0] * this.shape[1] * this.shape[2];
  }

  /** Place of a voxel in `values`. */
  index(x: number, y: number, z: number): number {
    return this.offset + x * this.strides[0] + y * this.strides[1] + z * this.strides[2];
  }

  at(x: number, y: number, z: number): number {
    return this.values[this.index(x, y, z)]!;
  }

  /** Whether the first axis runs fastest and nothing lies between. */
  get isPlain(): boolean {
    const [nx, ny] = this.shape;
    const [sx, sy, sz] = this.strides;
    return sx === 1 && sy === nx && sz === nx * ny && this.offset === 0 && this.values.length === this.size;
  }

  /** View of a box that lies within the array. */
  crop(box: readonly (readonly [number, number])[]): Field<T> {
    const shape = box.map(([start, stop]) => Math.max(0, stop - start)) as Triple;
    return new Field(this.values, shape, this.strides, this.index(box[0]![0], box[1]![0], box[2]![0]));
  }

  /** View of every n-th voxel along each axis, from the first one given. */
  every(steps: Triple, first: Triple = [0, 0, 0]): Field<T> {
    const shape = this.shape.map((n, axis) => Math.max(0, Math.ceil((n - first[axis]!) / steps[axis]!))) as Triple;
    const strides = this.strides.map((stride, axis) => stride * steps[axis]!) as Triple;
    return new Field(this.values, shape, strides, this.index(...first));
  }

  /** View with other axes first: `axes[k]` is the old axis that becomes the k-th. */
  permute(axes: Triple): Field<T> {
    const pick = (of: Triple) => axes.map((axis) => of[axis]!) as Triple;
    return new Field(this.values, pick(this.shape), pick(this.strides), this.offset);
  }

  /** Calls with the place of each voxel in `values`, the first axis running fastest. */
  forEach(visit: (place: number, count: number) => void): void {
    const [nx, ny, nz] = this.shape;
    const step = this.strides[0];
    let count = 0;
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        let place = this.index(0, y, z);
        for (let x = 0; x < nx; x++, place += step) visit(place, count++);
      }
    }
  }

  /** Other values of the same kind, the first axis running fastest. */
  like(values: T, shape: Triple = this.shape): Field<T> {
    return new Field(values, shape);
  }

  /** The values in order, the first axis running fastest; a copy unless they lie so already. */
  flat(): T {
    return this.isPlain ? this.values : this.copy().values;
  }

  copy(): Field<T> {
    const Kind = this.values.constructor as new (length: number) => T;
    const values = new Kind(this.size);
    const [nx, ny, nz] = this.shape;
    const step = this.strides[0];
    let count = 0;
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        let place = this.index(0, y, z);
        for (let x = 0; x < nx; x++, place += step) values[count++] = this.values[place]!;
      }
    }
    return new Field(values, this.shape);
  }
}

/** A field of zeros, the first axis running fastest. */
export function zeros(shape: Triple): Field<Float32Array> {
  return new Field(new Float32Array(shape[0] * shape[1] * shape[2]), shape);
}

/** An empty mask. */
export function emptyMask(shape: Triple): Field<Uint8Array> {
  return new Field(new Uint8Array(shape[0] * shape[1] * shape[2]), shape);
}

/** Mask of the values that pass a test. */
export function select(field: Field<Float32Array>, test: (value: number) => boolean): Field<Uint8Array> {
  const values = field.flat();
  const mask = emptyMask(field.shape);
  for (let i = 0; i < values.length; i++) if (test(values[i]!)) mask.values[i] = 1;
  return mask;
}
