/** NRRD and MetaImage: lines of text, and the voxels that they describe, behind the text or in a file beside it. */

import { ImageFileError } from "../errors";
import { diagonal, makeAffine, type Matrix, multiply, transform } from "./affine";
import { chooseFrame, readVoxels } from "./formats";
import type { Shape } from "./grid";
import { makeSource, type Voxels } from "./mgh";
import { SIZES, type VoxelType } from "./stored";
import { ByteReader } from "./streams";
import type { Source } from "./volume";

const LPS_TO_RAS = diagonal([-1, -1, 1]);
const NRRD_SPACES: Record<string, Matrix> = {
  "right-anterior-superior": diagonal([1, 1, 1]),
  ras: diagonal([1, 1, 1]),
  "left-anterior-superior": diagonal([-1, 1, 1]),
  las: diagonal([-1, 1, 1]),
};
const NRRD_TYPES: readonly (readonly [RegExp, VoxelType])[] = [
  [/^(signed char|int8|int8_t|char)$/, "int8"],
  [/^(uchar|unsigned char|uint8|uint8_t)$/, "uint8"],
  [/^(short|short int|signed short|signed short int|int16|int16_t)$/, "int16"],
  [/^(ushort|unsigned short|unsigned short int|uint16|uint16_t)$/, "uint16"],
  [/^(int|signed int|int32|int32_t)$/, "int32"],
  [/^(uint|unsigned int|uint32|uint32_t)$/, "uint32"],
  [/^(longlong|long long|long long int|signed long long|signed long long int|int64|int64_t)$/, "int64"],
  [/^(ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t)$/, "uint64"],
  [/^float$/, "float32"],
  [/^double$/, "float64"],
];
const META_TYPES: Record<string, VoxelType> = {
  MET_CHAR: "int8",
  MET_UCHAR: "uint8",
  MET_SHORT: "int16",
  MET_USHORT: "uint16",
  MET_INT: "int32",
  MET_LONG: "int32",
  MET_UINT: "uint32",
  MET_ULONG: "uint32",
  MET_LONG_LONG: "int64",
  MET_ULONG_LONG: "uint64",
  MET_FLOAT: "float32",
  MET_DOUBLE: "float64",
};
const UNPLACED = "no orientation in its header; axes assumed to be left, posterior, superior (LPS)";
const META_DIRECTIONS = ["TransformMatrix", "Rotation", "Orientation"];
const LONGEST_TEXT = 1024 * 1024;

/** What the text says about the voxels. */
interface Description {
  shape: number[];
  type: VoxelType;
  isLittle: boolean;
  encoding: CompressionFormat | "";
  /** Of the voxels in their file: of the one itself where they follow the text. */
  start: number;
  beside: string | null;
}

/** One letter for each byte, so that places in the text are those in the file. */
async function readText(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.slice(0, LONGEST_TEXT).arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

/** The name of a file in such a text, without a "./" that says that it lies beside it. */
function decodeName(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))).replace(/^\.\//, "");
}

/** Read one frame of voxels from the end of the text on, or from the file that it names. */
async function readDescribed(files: readonly File[], text: Description, wanted: number | null, isPlaced: boolean): Promise<Voxels> {
  const [file, ...others] = files as [File, ...File[]];
  const holder = text.beside === null ? file : others.find(({ name }) => name.normalize() === text.beside!.normalize());
  if (!holder) {
    throw new ImageFileError(`${file.name}: its voxels are missing; expected them in ${text.beside}, beside it. Drop both files.`);
  }
  const { shape, frame } = chooseFrame(text.shape, wanted, file.name);
  const start = text.start >= 0 ? text.start : holder.size - shape.reduce((a, b) => a * b, SIZES[text.type]);
  const reader = await ByteReader.open(holder.slice(start), file.name, text.encoding);
  const notes = isPlaced ? [] : [UNPLACED];
  const bytes = await readVoxels(reader, shape, text.type, frame, holder.size, notes);
  return { bytes, shape: shape as Shape, type: text.type, isLittle: text.isLittle, frame, notes, files: [...new Set([file, holder])] };
}

export async function readNrrd(files: readonly File[], wanted: number | null): Promise<Source> {
  const [file] = files as [File];
  const text = await readText(file);
  const end = /\r?\n\r?\n/.exec(text);
  const head = end ? text.slice(0, end.index) : text;
  const fields = new Map<string, string>();
  for (const line of head.split(/\r?\n/).slice(1)) {
    const [, key, value] = /^([^:#]+): ?(.*)$/.exec(line) ?? [];
    if (key) fields.set(key.trim().toLowerCase(), value!.trim());
  }
  const beside = fields.get("data file") ?? fields.get("datafile") ?? null;
  const start = beside === null ? (end ? end.index + end[0].length : text.length) : 0;
  const description = describeNrrd(fields, start, beside, file.name);
  const affine = readNrrdAffine(fields, description.shape.length, file.name);
  const isPlaced = fields.has("space") || fields.has("space directions");
  return makeSource(await readDescribed(files, description, wanted, isPlaced), affine, file.name);
}

function describeNrrd(fields: Map<string, string>, start: number, beside: string | null, name: string): Description {
  const need = (key: string) => {
    const value = fields.get(key);
    if (value === undefined) throw new ImageFileError(`${name}: no NRRD, its text has no ${key}; expected sizes, type and encoding.`);
    return value;
  };
  const type = NRRD_TYPES.find(([words]) => words.test(need("type")))?.[1];
  const encoding = ({ raw: "", gzip: "gzip", gz: "gzip" } as const)[need("encoding").toLowerCase()];
  const skip = Number(fields.get("byte skip") ?? 0);
  if (!type || encoding === undefined || Number(fields.get("line skip") ?? 0) || (skip && skip !== -1) || /%/.test(beside ?? "")) {
    throw new ImageFileError(
      `${name}: NRRD of type ${fields.get("type")} in ${fields.get("encoding")} with skips or many files is not read in the browser. ` +
        "Convert it to NIfTI, or use the command line.",
    );
  }
  const shape = need("sizes").split(/\s+/).map(Number);
  return { shape, type, isLittle: fields.get("endian") !== "big", encoding, start: skip === -1 ? -1 : start, beside: beside && decodeName(beside) };
}

function readNrrdAffine(fields: Map<string, string>, count: number, name: string): Matrix {
  const vectors = (words: string) => [...words.matchAll(/none|\(([^)]*)\)/g)].map(([, inner]) => inner?.split(",").map(Number));
  const directions = vectors(fields.get("space directions") ?? "");
  const spacings = (fields.get("spacings") ?? "").split(/\s+/).map((word) => Number(word) || 1);
  const columns = directions.length ? directions : [0, 1, 2].map((axis) => [0, 1, 2].map((k) => (k === axis ? (spacings[axis] ?? 1) : 0)));
  const first = columns.slice(0, 3);
  if (count < 3 || first.length !== 3 || !first.every((vector) => vector?.length === 3 && vector.every(Number.isFinite))) {
    throw new ImageFileError(`${name}: axes of space ${fields.get("space directions")}; expected the first 3 of ${fields.get("sizes")}.`);
  }
  const space = (fields.get("space") ?? "").toLowerCase().replace(/-time$|t$/, "");
  const toRas = NRRD_SPACES[space] ?? LPS_TO_RAS;
  const origin = vectors(fields.get("space origin") ?? "")[0] ?? [0, 0, 0];
  const matrix = [0, 1, 2].map((k) => first.map((vector) => vector![k]!));
  return makeAffine(multiply(toRas, matrix), transform(toRas, origin));
}

export async function readMetaimage(files: readonly File[], wanted: number | null): Promise<Source> {
  const [file] = files as [File];
  const text = await readText(file);
  const fields = new Map<string, string>();
  let start = 0;
  for (const match of text.matchAll(/^([^=\n]+)=([^\n]*)\n?/gm)) {
    fields.set(match[1]!.trim(), match[2]!.trim());
    start = match.index + match[0].length;
    if (match[1]!.trim() === "ElementDataFile") break;
  }
  const where = fields.get("ElementDataFile");
  if (!where) throw new ImageFileError(`${file.name}: no MetaImage, its text has no ElementDataFile; expected lines such as NDims = 3.`);
  const isTrue = (key: string) => /^[Tt1]/.test(fields.get(key) ?? "");
  const type = META_TYPES[fields.get("ElementType") ?? ""];
  if (!type || (fields.get("ElementNumberOfChannels") ?? "1") !== "1") {
    throw new ImageFileError(
      `${file.name}: ${fields.get("ElementNumberOfChannels") ?? 1} numbers of type ${fields.get("ElementType")} a voxel; ` +
        "expected one real number. Convert it to a scalar image first.",
    );
  }
  const isLocal = where.toUpperCase() === "LOCAL";
  if (where.startsWith("LIST") || where.includes("%") || (fields.has("BinaryData") && !isTrue("BinaryData"))) {
    throw new ImageFileError(`${file.name}: voxels as text or in many files are not read in the browser. Use the command line.`);
  }
  const skip = Number(fields.get("HeaderSize") ?? 0);
  const shape = (fields.get("DimSize") ?? "").split(/\s+/).map(Number);
  const description: Description = {
    shape,
    type,
    isLittle: !isTrue("BinaryDataByteOrderMSB") && !isTrue("ElementByteOrderMSB"),
    encoding: isTrue("CompressedData") ? "deflate" : "",
    start: isLocal ? start : skip,
    beside: isLocal ? null : decodeName(where),
  };
  const isPlaced = META_DIRECTIONS.some((key) => fields.has(key));
  return makeSource(await readDescribed(files, description, wanted, isPlaced), readMetaAffine(fields, shape.length), file.name);
}

function readMetaAffine(fields: Map<string, string>, count: number): Matrix {
  const read = (keys: string[], usual: number[]) => {
    const words = keys.map((key) => fields.get(key)).find((value) => value !== undefined);
    return words === undefined ? usual : words.split(/\s+/).map(Number);
  };
  const directions = read(META_DIRECTIONS, diagonal(Array<number>(count).fill(1)).flat());
  const spacing = read(["ElementSpacing", "ElementSize"], [1, 1, 1]);
  const origin = read(["Offset", "Position", "Origin"], [0, 0, 0]).slice(0, 3);
  const matrix = [0, 1, 2].map((k) => [0, 1, 2].map((axis) => directions[axis * count + k]! * spacing[axis]!));
  return makeAffine(multiply(LPS_TO_RAS, matrix), transform(LPS_TO_RAS, origin));
}
