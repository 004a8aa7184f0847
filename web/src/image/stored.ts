/** Voxels as a file stores them: raw bytes, their type and order, and their scaling. */

import { ImageFileError } from "../errors";

export const SIZES = {
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
} as const;

export type VoxelType = keyof typeof SIZES;

const MAX_BYTES = 4 * 1024 ** 3;
const MAX_PACKED = 1032; // bytes that one byte of gzip can unpack to at most

const ARRAYS = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** Raw voxels of one image, the first axis running fastest. */
export interface Stored {
  bytes: Uint8Array;
  shape: number[];
  type: VoxelType;
  isLittle: boolean;
  /** As the header has them; a slope of 0 or NaN means no scaling. */
  slope: number;
  inter: number;
}

/** Slope and intercept that are in force: value = slope * stored + intercept. */
export function findScaling({ slope, inter }: Stored): [number, number] {
  if (slope === 0 || !Number.isFinite(slope)) return [1, 0];
  return [slope, Number.isFinite(inter) ? inter : 0];
}

/** Scaled values in single precision; what it cannot hold becomes infinite. */
export function toFloat32(stored: Stored): Float32Array {
  const raw = toArray(stored);
  const [slope, inter] = findScaling(stored);
  const out = new Float32Array(raw.length);
  if (slope === 1 && inter === 0 && typeof raw[0] !== "bigint") {
    out.set(raw as Float32Array);
    return out;
  }
  for (let i = 0; i < raw.length; i++) out[i] = Number(raw[i]) * slope + inter;
  return out;
}

/** The stored voxels as numbers in this machine's order; a view where possible. */
function toArray({ bytes, type, isLittle }: Stored) {
  const size = SIZES[type];
  let own = bytes;
  if (!isLittle && size > 1) {
    own = bytes.slice();
    for (let i = 0; i < own.length; i += size) own.subarray(i, i + size).reverse();
  } else if (bytes.byteOffset % size) {
    own = bytes.slice();
  }
  return new ARRAYS[type](own.buffer as ArrayBuffer, own.byteOffset, own.length / size);
}

/** Bytes of the storable value nearest to 0 in scaled units. */
export function encodeZero(stored: Stored): Uint8Array {
  const [slope, inter] = findScaling(stored);
  const wanted = -inter / slope;
  const size = SIZES[stored.type];
  const one = new Uint8Array(size);
  const array = new ARRAYS[stored.type](one.buffer);
  if (stored.type.startsWith("float")) {
    (array as Float32Array)[0] = wanted + 0;
  } else {
    const isSigned = stored.type.startsWith("int");
    const [low, high] = isSigned ? [-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1] : [0, 2 ** (8 * size) - 1];
    const whole = Math.min(Math.max(Math.round(wanted) + 0, low), high);
    if (size === 8) (array as BigInt64Array)[0] = BigInt(whole);
    else (array as Int32Array)[0] = whole;
  }
  return stored.isLittle ? one : one.reverse();
}

/** Refuse voxels that are none at all, or more than fit, before reading them. */
export function checkPromise(shape: readonly number[], type: VoxelType, name: string, held: number): void {
  if (!shape.length || Math.min(...shape) < 1) {
    throw new ImageFileError(`${name}: shape ${showShape(shape)}; expected at least one voxel an axis.`);
  }
  const size = shape.reduce((a, b) => a * b, 1) * SIZES[type];
  if (size > MAX_BYTES) {
    const way = shape.length > 3 ? "choose a frame" : "the scan must be cut";
    throw new ImageFileError(
      `${name}: its header promises ${(size / 1024 ** 3).toFixed(1)} GiB of voxels ${showShape(shape)}; expected at ` +
        `most ${MAX_BYTES / 1024 ** 3} GiB. The header is damaged, or ${way}.`,
    );
  }
  if (size > MAX_PACKED * held) {
    throw new ImageFileError(
      `${name}: its header promises ${size} bytes of voxels ${showShape(shape)}, more than a file of ${held} bytes ` +
        "can hold. The header is damaged, or the file is truncated.",
    );
  }
}

export function showShape(shape: readonly number[]): string {
  return `(${shape.join(", ")})`;
}
