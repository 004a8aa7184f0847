/** What Python made, as fields and files. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, inject } from "vitest";

import type { Triple } from "../src/image/affine";
import { Field, type Values } from "../src/image/field";

export interface Stored {
  array: number;
  kind: "uint8" | "float32";
  shape: Triple;
}

const folder = inject("fixtures");
const bytes = readFileSync(join(folder, "arrays.bin"));

type Case = Record<string, any>;

export const index: Record<string, Case[]> & { constants: Case } = JSON.parse(readFileSync(join(folder, "index.json"), "utf-8"));

export function field({ array, shape }: Stored): Field {
  const size = shape.reduce((a, b) => a * b, 1);
  return new Field(new Float32Array(bytes.buffer.slice(bytes.byteOffset + array, bytes.byteOffset + array + 4 * size)), shape);
}

export function mask({ array, shape }: Stored): Field<Uint8Array> {
  const size = shape.reduce((a, b) => a * b, 1);
  return new Field(new Uint8Array(bytes.buffer.slice(bytes.byteOffset + array, bytes.byteOffset + array + size)), shape);
}

export function readFile(name: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(join(folder, name)));
}

export function file(name: string): File {
  return new File([readFile(name)], name);
}

export function expectClose(found: Field<Values>, wanted: Field<Values>, tolerance: number): void {
  expect(found.shape).toEqual(wanted.shape);
  const [one, other] = [found.copy().values, wanted.copy().values];
  let worst = 0;
  one.forEach((value, i) => {
    worst = Math.max(worst, value === other[i] ? 0 : Math.abs(value - other[i]!));
  });
  expect(worst).toBeLessThanOrEqual(tolerance);
}

export function expectNear(found: readonly number[], wanted: readonly number[], tolerance = 1e-6): void {
  expect(found.length).toBe(wanted.length);
  found.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(tolerance));
}
