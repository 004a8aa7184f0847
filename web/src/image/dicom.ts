/**
 * DICOM to NIfTI with dcm2niix, the field's own converter, as WebAssembly in a worker of its own.
 *
 * The files of a folder, or a zip, go in; one NIfTI file comes out.
 */

import { Dcm2niix } from "@niivue/dcm2niix";
import { unzipSync } from "fflate";

import { ChoiceError, ImageFileError } from "../errors";
import { isBeside } from "./names";

const MAX_ZIP_BYTES = 2 * 1024 ** 3;
/** What dcm2niix adds to the name of an image that it resampled, and what is noted of it. */
const RESAMPLED = {
  _Eq_: "its slices had uneven distances; the image resampled by dcm2niix was used",
  _Tilt_: "its slices were sheared (tilted gantry); the image resampled by dcm2niix was used",
};

/** One image that dcm2niix made. */
interface Series {
  label: string;
  description: string;
  file: File;
}

/** An image out of DICOM, and what is doubtful about it. */
export interface Converted {
  files: File[];
  notes: string[];
}

/** Convert one DICOM series; asks which where there are several. It ends when the signal says so, for its reason. */
export async function convertDicom(files: readonly File[], series: string | null, name: string, signal: AbortSignal): Promise<Converted> {
  const slices = /\.zip$/i.test(files[0]!.name) ? await unzip(files[0]!) : rename(files);
  checkWhole(slices, name);
  const found = dropWrong(await convert(slices, name, signal));
  if (!found.length) throw new ImageFileError(`${name}: no whole DICOM image in it; expected NIfTI, MGH/MGZ, NRRD, MetaImage or DICOM.`);
  const picked = series === null ? found : found.filter(({ label }) => label === series);
  if (picked.length === 1) return { files: [picked[0]!.file], notes: findNotes(picked[0]!.label) };
  const options = found.map(({ label, description }) => `${label} ${description}`.trim());
  throw new ChoiceError(`${name}: ${found.length} DICOM series; expected one. Choose one.`, "series", options);
}

function checkWhole(slices: readonly File[], name: string): void {
  const lost = slices.filter(({ size }) => size === 0).length;
  if (!lost) return;
  throw new ImageFileError(
    `${name}: ${lost} of ${slices.length} files ${lost === 1 ? "is" : "are"} empty. Copy them again; or move them away to do without.`,
  );
}

/** Images without those of which there is a resampled one: their slices are not where an affine puts them. */
function dropWrong(found: readonly Series[]): Series[] {
  const wrong = new Set(found.filter(({ label }) => findNotes(label).length).map(({ label }) => findRaw(label)));
  return found.filter(({ label }) => !wrong.has(label));
}

/** Label of the image that one was resampled from; its own if it was not. */
function findRaw(label: string): string {
  return label.replace(/_(Eq|Tilt)_.*$/, "");
}

function findNotes(label: string): string[] {
  return Object.entries(RESAMPLED).flatMap(([part, note]) => (label.includes(part) ? [note] : []));
}

/** The series that an option of the choice above stands for. */
export function readSeries(option: string): string {
  return option.split(" ")[0]!;
}

/** Files under numbers for names, so that two of one name in two folders do not meet. */
function rename(files: readonly File[]): File[] {
  return files.map((file, k) => new File([file], `${String(k).padStart(6, "0")}.dcm`));
}

async function unzip(zip: File): Promise<File[]> {
  let total = 0;
  const filter = ({ name, originalSize }: { name: string; originalSize: number }) => {
    total += originalSize;
    if (total > MAX_ZIP_BYTES) throw new ImageFileError(`${zip.name}: unzips to more than 2 GiB; expected one scan. Unzip it first.`);
    return !name.endsWith("/") && !isBeside(name.split("/").at(-1)!);
  };
  try {
    const entries = Object.values(unzipSync(new Uint8Array(await zip.arrayBuffer()), { filter }));
    return rename(entries.map((bytes) => new File([bytes as BlobPart], "slice")));
  } catch (error) {
    if (error instanceof ImageFileError) throw error;
    throw new ImageFileError(`${zip.name}: damaged zip (${(error as Error).message}). Copy or download it again.`);
  }
}

async function convert(slices: readonly File[], name: string, signal: AbortSignal): Promise<Series[]> {
  signal.throwIfAborted();
  const converter = new Dcm2niix();
  const stopped = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  try {
    await Promise.race([converter.init(), stopped]);
    const made = await Promise.race([converter.input([...slices]).b("y").ba("y").z("n").f("%s").run(), stopped]);
    return await Promise.all(made.filter((file) => file.name.endsWith(".nii")).map((file) => describe(file, made)));
  } catch (error) {
    signal.throwIfAborted();
    throw new ImageFileError(
      `${name}: dcm2niix could not convert it (${(error as Error).message}). Export the series again, or convert it with another tool.`,
    );
  } finally {
    converter.worker?.terminate();
  }
}

async function describe(file: File, made: readonly File[]): Promise<Series> {
  const label = file.name.replace(/\.nii$/, "");
  const sidecar = made.find((other) => other.name === `${findRaw(label)}.json`);
  const facts = sidecar ? (JSON.parse(await sidecar.text()) as { SeriesDescription?: string }) : {};
  return { label, description: facts.SeriesDescription ?? "", file: await blank(file) };
}

/** What a header made of DICOM says about person or time is blanked. */
async function blank(file: File): Promise<File> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  bytes.fill(0, 4, 32); // data_type, db_name
  bytes.fill(0, 148, 252); // descrip, aux_file
  bytes.fill(0, 328, 344); // intent_name
  return new File([bytes], file.name);
}
