/** Two files of one scan: headers byte by byte, masks voxel by voxel. */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const START = 352;

export function unpack(path: string): Uint8Array {
  return gunzipSync(readFileSync(path));
}

export function readHeader(path: string): number[] {
  return [...unpack(path).subarray(0, START)];
}

export function readMask(path: string): Uint8Array {
  return unpack(path).subarray(START);
}

export function dice(a: Uint8Array, b: Uint8Array): number {
  let both = 0;
  let all = 0;
  a.forEach((value, i) => {
    both += value && b[i] ? 1 : 0;
    all += (value ? 1 : 0) + (b[i] ? 1 : 0);
  });
  return a.length === b.length ? (2 * both) / all : 0;
}

/** Voxels in which two masks differ; the size where their sizes do. */
export function countDifferent(a: Uint8Array, b: Uint8Array): number {
  return a.length === b.length ? a.reduce((count, value, i) => count + (value === b[i] ? 0 : 1), 0) : Math.max(a.length, b.length);
}
