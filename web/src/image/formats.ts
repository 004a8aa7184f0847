/**
 * Files to an image, for every format that the page reads.
 *
 * Formats are recognised by content first, then by name. What an image must be to count as a head
 * is `volume.ts`; DICOM is converted before, by `dicom.ts`.
 */

import { ChoiceError, ImageFileError } from "../errors";
import { readMetaimage, readNrrd } from "./described";
import { readMgh } from "./mgh";
import { ARCHIVES, findFormat, findSuffix } from "./names";
import { LENGTHS, NiftiHeader } from "./nifti";
import { checkPromise, showShape, SIZES, type Stored, type VoxelType } from "./stored";
import { ByteReader } from "./streams";
import type { Source } from "./volume";

const MAX_LEAD = 64 * 1024 ** 2;
const EXPECTED = "expected NIfTI, MGH/MGZ, NRRD, MetaImage or DICOM";
const OTHER_PACKINGS = ["BZh", "\xfd7zXZ\0", "\x28\xb5\x2f\xfd"]; // bzip2, xz, zstd
const PACKING = "this packing is not read in the browser. Unpack it, or use the command line.";
const MINC = "MINC is not read in the browser. Convert it to NIfTI, or use the command line.";
const ANALYZE = "Analyze is not read in the browser. Convert it to NIfTI, or use the command line.";

/** Read an image: the file, what lies beside it, and which frame of a 4D one. */
export async function openImage(files: readonly File[], frame: number | null): Promise<Source> {
  const [file] = files;
  if (!file) throw new ImageFileError(`no file; ${EXPECTED}.`);
  const { name } = file;
  if (file.size === 0) throw new ImageFileError(`${name}: empty file (0 bytes); ${EXPECTED}.`);
  const reader = await ByteReader.open(file, name);
  const start = await reader.readUpTo(LENGTHS[1]);
  reader.close();
  if (NiftiHeader.find(start)) return readNifti(files, frame);
  const [text, stored] = [readLetters(start), readLetters(await readStart(file))];
  const isText = text.startsWith("NRRD0") || [".mha", ".mhd"].includes(findFormat(name));
  if (isOtherPacking(stored) || ARCHIVES.includes(findSuffix(name)) || (isText && text !== stored)) {
    throw new ImageFileError(`${name}: ${PACKING}`);
  }
  if (text.startsWith("NRRD0")) return readNrrd(files, frame);
  if (text.startsWith("CDF\x01") || text.startsWith("\x89HDF")) throw new ImageFileError(`${name}: ${MINC}`);
  switch (findFormat(name)) {
    case ".mgz":
    case ".mgh":
      return readMgh(file, frame);
    case ".mha":
    case ".mhd":
      return readMetaimage(files, frame);
    case ".mnc":
      throw new ImageFileError(`${name}: ${MINC}`);
    case ".hdr":
      throw new ImageFileError(`${name}: ${ANALYZE}`);
    case ".img":
      throw new ImageFileError(`${name}: its .hdr is missing beside it; expected both files of the pair.`);
    default:
      throw new ImageFileError(`${name}: not an image, it starts with ${JSON.stringify(text)}; ${EXPECTED}.`);
  }
}

async function readStart(file: File): Promise<Uint8Array> {
  return new Uint8Array(await file.slice(0, 12).arrayBuffer());
}

/** The first bytes of a file, a letter for each. */
function readLetters(start: Uint8Array): string {
  return String.fromCharCode(...start.subarray(0, 12));
}

function isOtherPacking(stored: string): boolean {
  return OTHER_PACKINGS.some((magic) => stored.startsWith(magic));
}

/** Settle on the axes of space and one frame; asks for it where there are several. */
export function chooseFrame(shape: readonly number[], frame: number | null, name: string): { shape: number[]; frame: number | null } {
  const kept = shape.filter((n, axis) => axis < 3 || n > 1);
  if (kept.length < 3) throw new ImageFileError(`${name}: ${showShape(shape)} is not a 3D image; expected (X, Y, Z).`);
  if (kept.length === 3) return { shape: kept, frame: null };
  if (kept.length > 4) {
    throw new ImageFileError(
      `${name}: ${shape.length} dimensions ${showShape(shape)}; expected 3, or 4 with frames. Save one 3D image of it.`,
    );
  }
  const count = kept[3]!;
  if (frame === null) {
    const options = Array.from({ length: count }, (_, k) => String(k));
    throw new ChoiceError(`${name}: 4 dimensions ${showShape(kept)}; expected 3. Choose a frame (0 to ${count - 1}).`, "frame", options);
  }
  if (frame < 0 || frame >= count) throw new ImageFileError(`${name}: no frame ${frame}; expected 0 to ${count - 1}.`);
  return { shape: kept.slice(0, 3), frame };
}

/** NIfTI-1 or -2, single file or pair, either byte order, gzip or not. */
async function readNifti(files: readonly File[], wanted: number | null): Promise<Source> {
  const [file, partner] = files as [File, File | undefined];
  const { name } = file;
  let reader = await ByteReader.open(file, name);
  const header = NiftiHeader.find(await reader.readUpTo(LENGTHS[1]))!;
  reader.close();
  const notes = header.mendDimensions();
  const promise = header.readPromise(name);
  const { shape, frame } = chooseFrame(promise.shape, wanted, name);
  const offset = header.get("vox_offset");
  if (!(offset >= 0 && offset <= MAX_LEAD)) {
    throw new ImageFileError(`${name}: voxels start at byte ${offset}; expected ${header.isSingle ? 352 : 0} to ${MAX_LEAD}.`);
  }
  const length = header.bytes.length;
  let lead: Uint8Array;
  reader = await ByteReader.open(file, name);
  await reader.skip(length);
  if (header.isSingle) {
    lead = await reader.read(Math.max(Math.trunc(offset), length + 4) - length);
  } else {
    lead = await reader.readUpTo(MAX_LEAD);
    reader.close();
    if (!partner) throw new ImageFileError(`${name}: its .img is missing beside it; expected both files of the pair.`);
    if (isOtherPacking(readLetters(await readStart(partner)))) throw new ImageFileError(`${partner.name}: ${PACKING}`);
    reader = await ByteReader.open(partner, partner.name);
    await reader.skip(Math.trunc(offset));
  }
  const held = (header.isSingle ? file : partner!).size;
  const bytes = await readVoxels(reader, shape, promise.type, frame, held, notes);
  const stored: Stored = {
    bytes,
    shape,
    type: promise.type,
    isLittle: header.isLittle,
    slope: header.get("scl_slope"),
    inter: header.get("scl_inter"),
  };
  return { header, lead, stored, affine: header.readAffine(name, notes), frame, notes, files: header.isSingle ? [file] : [file, partner!] };
}

/** Read the voxels of one frame, and close the file; what lies behind them is noted. */
export async function readVoxels(
  reader: ByteReader,
  shape: readonly number[],
  type: VoxelType,
  frame: number | null,
  held: number,
  notes: string[],
): Promise<Uint8Array> {
  checkPromise(shape, type, reader.name, held);
  const count = shape.reduce((a, b) => a * b, 1) * SIZES[type];
  await reader.skip((frame ?? 0) * count);
  const bytes = await reader.read(count);
  if (frame !== null) {
    reader.close();
    return bytes;
  }
  const behind = await reader.finish();
  if (behind) notes.push(behind);
  return bytes;
}
