/** The NIfTI header, version 1 or 2, in either byte order: read field by field, copied byte by byte. */

import { GeometryError, ImageFileError } from "../errors";
import { toRepr } from "../statistics";
import { diagonal, length, makeAffine, type Matrix, nearestRotation, type Triple } from "./affine";
import { Grid } from "./grid";
import { SIZES, type VoxelType } from "./stored";

const CODES: Record<number, VoxelType> = {
  2: "uint8",
  4: "int16",
  8: "int32",
  16: "float32",
  64: "float64",
  256: "int8",
  512: "uint16",
  768: "uint32",
  1024: "int64",
  1280: "uint64",
};
const REFUSED: Record<number, string> = { 32: "complex", 1792: "complex", 2048: "complex", 128: "colour", 2304: "colour" };
const QUATERNION_SLACK = -3 * 2 ** -23; // as nibabel allows
const LONG_QUATERNION = 1.01;
const ROUNDING = 1e-6;

type Kind = "int16" | "int32" | "int64" | "float32" | "float64";
type Place = readonly [offset: number, kind: Kind];

const FIELDS = {
  dim: [[40, "int16"], [16, "int64"]],
  intent_p: [[56, "float32"], [80, "float64"]],
  intent_code: [[68, "int16"], [504, "int32"]],
  datatype: [[70, "int16"], [12, "int16"]],
  bitpix: [[72, "int16"], [14, "int16"]],
  pixdim: [[76, "float32"], [104, "float64"]],
  vox_offset: [[108, "float32"], [168, "int64"]],
  scl_slope: [[112, "float32"], [176, "float64"]],
  scl_inter: [[116, "float32"], [184, "float64"]],
  cal_max: [[124, "float32"], [192, "float64"]],
  cal_min: [[128, "float32"], [200, "float64"]],
  qform_code: [[252, "int16"], [344, "int32"]],
  sform_code: [[254, "int16"], [348, "int32"]],
  quatern: [[256, "float32"], [352, "float64"]],
  qoffset: [[268, "float32"], [376, "float64"]],
  srow: [[280, "float32"], [400, "float64"]],
} as const satisfies Record<string, readonly [Place, Place]>;

export type NiftiField = keyof typeof FIELDS;

const INTENT_NAME = [[328, 16], [508, 16]] as const;
const MAGIC = [344, 4] as const;
export const LENGTHS = [348, 540] as const;

/** Bytes of a header and what they mean. */
export class NiftiHeader {
  private readonly view: DataView;

  private constructor(
    readonly bytes: Uint8Array,
    readonly version: 1 | 2,
    readonly isLittle: boolean,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The header at the start of a file, or null if there is none. */
  static find(start: Uint8Array): NiftiHeader | null {
    for (const version of [1, 2] as const) {
      const at = MAGIC[version - 1]!;
      const magic = String.fromCharCode(...start.subarray(at, at + 4));
      if (!["n+", "ni"].some((word) => magic === `${word}${version}\0`)) continue;
      const bytes = start.slice(0, LENGTHS[version - 1]);
      const isLittle = new DataView(bytes.buffer).getInt32(0, true) === bytes.length;
      return new NiftiHeader(bytes, version, isLittle);
    }
    return null;
  }

  static empty(): NiftiHeader {
    const header = new NiftiHeader(new Uint8Array(LENGTHS[0]), 1, true);
    header.view.setInt32(0, LENGTHS[0], true);
    return header;
  }

  copy(): NiftiHeader {
    return new NiftiHeader(this.bytes.slice(), this.version, this.isLittle);
  }

  /** Whether the voxels follow in the same file; else they lie in an .img beside it. */
  get isSingle(): boolean {
    return this.bytes[MAGIC[this.version - 1]! + 1] === "+".charCodeAt(0);
  }

  makeSingle(): void {
    this.bytes[MAGIC[this.version - 1]! + 1] = "+".charCodeAt(0);
  }

  get(field: NiftiField, item = 0): number {
    const [start, kind] = FIELDS[field][this.version - 1]!;
    switch (kind) {
      case "int16":
        return this.view.getInt16(start + 2 * item, this.isLittle);
      case "int32":
        return this.view.getInt32(start + 4 * item, this.isLittle);
      case "int64":
        return Number(this.view.getBigInt64(start + 8 * item, this.isLittle));
      case "float32":
        return this.view.getFloat32(start + 4 * item, this.isLittle);
      case "float64":
        return this.view.getFloat64(start + 8 * item, this.isLittle);
    }
  }

  set(field: NiftiField, value: number, item = 0): void {
    const [start, kind] = FIELDS[field][this.version - 1]!;
    if (kind === "int16") this.view.setInt16(start + 2 * item, value, this.isLittle);
    if (kind === "int32") this.view.setInt32(start + 4 * item, value, this.isLittle);
    if (kind === "int64") this.view.setBigInt64(start + 8 * item, BigInt(value), this.isLittle);
    if (kind === "float32") this.view.setFloat32(start + 4 * item, value, this.isLittle);
    if (kind === "float64") this.view.setFloat64(start + 8 * item, value, this.isLittle);
  }

  get shape(): number[] {
    return Array.from({ length: this.get("dim") }, (_, k) => this.get("dim", k + 1));
  }

  set shape(shape: readonly number[]) {
    for (let k = 0; k < 7; k++) this.set("dim", shape[k] ?? 1, k + 1);
    this.set("dim", shape.length);
  }

  get type(): VoxelType | undefined {
    return CODES[this.get("datatype")];
  }

  set type(type: VoxelType) {
    if (type === this.type) return;
    this.set("datatype", Number(Object.keys(CODES).find((code) => CODES[Number(code)] === type)));
    this.set("bitpix", 8 * SIZES[type]);
  }

  /** Type and shape that the header promises. */
  readPromise(name: string): { type: VoxelType; shape: number[] } {
    const code = this.get("datatype");
    const type = this.type;
    if (!type) {
      const what = REFUSED[code];
      throw new ImageFileError(
        what
          ? `${name}: ${what} voxels; expected one real number each. Convert it to a magnitude image first.`
          : `${name}: data type code ${code}; expected an integer or float type.`,
      );
    }
    const count = this.get("dim");
    if (count < 1 || count > 7) throw new ImageFileError(`${name}: ${count} dimensions in its header; expected 3 or 4.`);
    return { type, shape: this.shape };
  }

  /** Take an axis beyond the third without voxels as one of length 1, and say so. */
  mendDimensions(): string[] {
    const notes: string[] = [];
    for (let axis = 4; axis <= Math.min(this.get("dim"), 7); axis++) {
      const length = this.get("dim", axis);
      if (length >= 1) continue;
      notes.push(`dim[${axis}] is ${length}; used as 1`);
      this.set("dim", 1, axis);
    }
    return notes;
  }

  /** The unit of its lengths, as a code of NIfTI. */
  get unit(): number {
    return this.bytes[this.version === 1 ? 123 : this.isLittle ? 500 : 503]! & 7;
  }

  /**
   * Affine by nibabel's rule: sform if coded, else qform if coded, else voxel sizes. A coded sform that
   * is no place gives way to a good qform. What is assumed is noted.
   */
  readAffine(name: string, notes: string[] = []): Matrix {
    if (isCoded(this.get("sform_code"))) {
      const sform = this.readSform();
      const assumed: string[] = [];
      const qform = isPlace(sform) || !isCoded(this.get("qform_code")) ? null : this.tryQform(name, assumed);
      if (!qform || !isPlace(qform)) return sform;
      notes.push("its sform is no valid affine; its qform was used", ...assumed);
      return qform;
    }
    if (isCoded(this.get("qform_code"))) return this.readQform(name, notes);
    const sizes = this.readSizes(name, notes);
    const shape = [1, 2, 3].map((k) => this.get("dim", k));
    const scaled = [-sizes[0], sizes[1], sizes[2]];
    notes.push("no orientation in its header (both codes are 0); axes assumed to be LAS");
    return makeAffine(diagonal(scaled), scaled.map((size, k) => -((shape[k]! - 1) / 2) * size));
  }

  private readSform(): Matrix {
    const row = (k: number) => [0, 1, 2, 3].map((j) => this.get("srow", 4 * k + j));
    return [row(0), row(1), row(2), [0, 0, 0, 1]];
  }

  /** Voxel sizes; those below zero are noted. */
  private readSizes(name: string, notes: string[]): Triple {
    const sizes = [1, 2, 3].map((k) => this.get("pixdim", k)) as Triple;
    if (!sizes.every((size) => Math.abs(size) > 0 && Math.abs(size) < Infinity)) {
      throw new GeometryError(
        `${name}: voxel size ${showList(sizes)} in its header; expected numbers above zero. ` +
          "Repair the header first (pixdim, or a coded sform).",
      );
    }
    if (Math.min(...sizes) < 0) notes.push(`voxel size ${showList(sizes)} in its header; the minus sign was ignored`);
    return sizes.map(Math.abs) as Triple;
  }

  private tryQform(name: string, notes: string[]): Matrix | null {
    try {
      return this.readQform(name, notes);
    } catch {
      return null;
    }
  }

  /** Affine of the qform, of a quaternion slightly too long the nearest rotation. */
  private readQform(name: string, notes: string[]): Matrix {
    const sizes = this.readSizes(name, notes);
    const read = [0, 1, 2].map((k) => this.get("quatern", k)) as Triple;
    const long = length(read);
    const isLong = long > 1 && long < LONG_QUATERNION;
    if (isLong && long > 1 + ROUNDING) notes.push(`its qform's quaternion ${showList(read)} is ${long.toFixed(4)} long; used as 1`);
    const [b, c, d] = (isLong ? read.map((part) => Math.fround(part / long)) : read) as Triple;
    const rest = 1 - (b * b + c * c + d * d);
    if (!(rest >= QUATERNION_SLACK)) {
      throw new GeometryError(
        `${name}: qform with quaternion ${showList(read)} is no rotation. Repair the header first (its qform or sform).`,
      );
    }
    const rotation = toRotation(Math.sqrt(Math.max(rest, 0)), b, c, d);
    const scaled = [sizes[0], sizes[1], sizes[2] * (this.get("pixdim") === -1 ? -1 : 1)];
    const matrix = rotation.map((row) => row.map((value, axis) => value * scaled[axis]!));
    return makeAffine(matrix, [0, 1, 2].map((k) => this.get("qoffset", k)));
  }

  /** Turn the copied header of a scan into that of something measured on it: range and intent start afresh. */
  clearMeaning(): void {
    for (const field of ["cal_min", "cal_max", "intent_code"] as const) this.set(field, 0);
    for (let k = 0; k < 3; k++) this.set("intent_p", 0, k);
    const [start, length] = INTENT_NAME[this.version - 1]!;
    this.bytes.fill(0, start, start + length);
  }
}

function isPlace(affine: Matrix): boolean {
  try {
    return Boolean(new Grid([1, 1, 1], affine));
  } catch {
    return false;
  }
}

/** Numbers as Python shows a list of them. */
function showList(values: readonly number[]): string {
  return `[${values.map(toRepr).join(", ")}]`;
}

function isCoded(code: number): boolean {
  return code >= 1 && code <= 5;
}

function toRotation(w: number, x: number, y: number, z: number): Matrix {
  const scale = 2 / (w * w + x * x + y * y + z * z);
  return [
    [1 - scale * (y * y + z * z), scale * (x * y - w * z), scale * (x * z + w * y)],
    [scale * (x * y + w * z), 1 - scale * (x * x + z * z), scale * (y * z - w * x)],
    [scale * (x * z - w * y), scale * (y * z + w * x), 1 - scale * (x * x + y * y)],
  ];
}

/** A header for voxels from a format without one: the sform gets code 1, and so the qform where it can say the same. */
export function makeNiftiHeader(shape: readonly number[], type: VoxelType, grid: Grid): NiftiHeader {
  const header = NiftiHeader.empty();
  header.bytes.set([0x6e, 0x2b, 0x31, 0], MAGIC[0]); // n+1
  header.bytes[123] = 2; // mm
  header.type = type;
  header.shape = shape;
  header.set("scl_slope", NaN);
  header.set("scl_inter", NaN);
  for (let k = 3; k < 7; k++) header.set("pixdim", 1, k + 1);
  setQform(header, grid);
  header.set("sform_code", 1);
  grid.affine.slice(0, 3).forEach((row, k) => row.forEach((value, j) => header.set("srow", value, 4 * k + j)));
  return header;
}

function setQform(header: NiftiHeader, grid: Grid): void {
  const unit = grid.affine.slice(0, 3).map((row) => row.slice(0, 3).map((value, axis) => value / grid.voxelSize[axis]!));
  let rotation = nearestRotation(unit);
  const flips = unit[0]![0]! * cofactor(unit, 0) + unit[0]![1]! * cofactor(unit, 1) + unit[0]![2]! * cofactor(unit, 2) < 0;
  header.set("pixdim", flips ? -1 : 1);
  if (flips) rotation = rotation.map(([x, y, z]) => [x!, y!, -z!]);
  const [w, x, y, z] = toQuaternion(rotation);
  const sign = w < 0 ? -1 : 1;
  [x, y, z].forEach((value, k) => header.set("quatern", value * sign, k));
  grid.voxelSize.forEach((size, k) => header.set("pixdim", size, k + 1));
  grid.affine.slice(0, 3).forEach((row, k) => header.set("qoffset", row[3]!, k));
  header.set("qform_code", 1);
  const made = header.readAffine("qform");
  const agrees = made.every((row, k) => row.every((value, j) => Math.abs(value - grid.affine[k]![j]!) <= 1e-3 + 1e-5 * Math.abs(grid.affine[k]![j]!)));
  if (!agrees) header.set("qform_code", 0);
}

function cofactor(m: Matrix, j: number): number {
  const [a, b] = [(j + 1) % 3, (j + 2) % 3];
  return m[1]![a]! * m[2]![b]! - m[1]![b]! * m[2]![a]!;
}

/** Unit quaternion (w, x, y, z) of a rotation, from its largest component, which is taken as positive. */
function toQuaternion(r: Matrix): [number, number, number, number] {
  const [xx, yy, zz] = [r[0]![0]!, r[1]![1]!, r[2]![2]!];
  const squares = [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz];
  const [a, b, c] = [r[2]![1]! - r[1]![2]!, r[0]![2]! - r[2]![0]!, r[1]![0]! - r[0]![1]!];
  const [d, e, f] = [r[0]![1]! + r[1]![0]!, r[0]![2]! + r[2]![0]!, r[1]![2]! + r[2]![1]!];
  const rows = [
    [squares[0]!, a, b, c],
    [a, squares[1]!, d, e],
    [b, d, squares[2]!, f],
    [c, e, f, squares[3]!],
  ];
  const largest = squares.indexOf(Math.max(...squares));
  const scale = 2 * Math.sqrt(squares[largest]!);
  return rows[largest]!.map((value) => value / scale) as [number, number, number, number];
}

