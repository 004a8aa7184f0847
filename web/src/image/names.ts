/** What a file's name says: its format, its stem, and which file lies beside it. */

const PAIRS: Record<string, string[]> = {
  ".hdr": [".img"],
  ".mhd": [".raw", ".zraw"],
  ".nhdr": [".raw", ".raw.gz", ".gz"],
};
const PARTNERS = [".img", ".raw", ".zraw", ".raw.gz"];

/** Suffixes of files that are an image, or the header of one. */
export const HEADERS = [".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr"];

const OTHERS = [".mnc", ".txt", ".json", ".csv", ".tsv", ".png", ".jpg", ".svg", ".html", ".pdf", ".xml"];

function findSuffixOf(name: string, known: readonly string[]): string {
  return known.find((suffix) => name.toLowerCase().endsWith(suffix)) ?? "";
}

/** Suffix that names the format, in lower case, such as ".nii.gz"; else "". */
export function findSuffix(name: string): string {
  return findSuffixOf(name, [...HEADERS, ...PARTNERS, ".dcm", ".ima", ".zip"]);
}

/** Name of a file without the suffix of its format. */
export function findStem(name: string): string {
  return name.slice(0, name.length - findSuffix(name).length);
}

/** Files that make up one scan: an image with what lies beside it, or a folder of DICOM. */
export interface Item {
  name: string;
  files: File[];
  isDicom: boolean;
}

/** The folder that a file came from, as far as the browser tells. */
function findFolder(file: File): string {
  const path = file.webkitRelativePath || (file as { path?: string }).path || "";
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** Put files that belong together into one scan each; the rest, unless its name tells, is DICOM. */
export function groupFiles(files: readonly File[]): Item[] {
  const items: Item[] = [];
  const dicom: File[] = [];
  const isHidden = (file: File) => file.name.startsWith(".") || file.name === "DICOMDIR";
  for (const file of files) {
    const suffix = findSuffixOf(file.name, HEADERS);
    if (suffix) {
      const beside = findPartners(file, suffix, files);
      items.push({ name: file.name, files: [file, ...beside], isDicom: false });
    } else if (!isHidden(file) && !findSuffixOf(file.name, PARTNERS) && !findSuffixOf(file.name, OTHERS)) {
      dicom.push(file);
    } else if (files.length === 1) {
      items.push({ name: file.name, files: [file], isDicom: false });
    }
  }
  for (const zip of dicom.filter(({ name }) => /\.zip$/i.test(name))) {
    items.push({ name: zip.name, files: [zip], isDicom: true });
  }
  const slices = dicom.filter(({ name }) => !/\.zip$/i.test(name)).sort(comparePaths);
  if (slices.length) items.push({ name: nameDicom(slices), files: slices, isDicom: true });
  return items;
}

function findPartners(header: File, suffix: string, files: readonly File[]): File[] {
  const stem = header.name.slice(0, -suffix.length);
  const names = (PAIRS[suffix] ?? []).map((other) => (stem + other).toLowerCase());
  return files.filter((file) => findFolder(file) === findFolder(header) && names.includes(file.name.toLowerCase()));
}

/** The order in which Python lists the files of a folder. */
function comparePaths(one: File, other: File): number {
  const [a, b] = [one, other].map((file) => [...findFolder(file).split("/"), file.name]) as [string[], string[]];
  const k = a.findIndex((part, at) => part !== b[at]);
  return k < 0 || k >= b.length ? a.length - b.length : a[k]! < b[k]! ? -1 : 1;
}

function nameDicom(files: readonly File[]): string {
  const top = findFolder(files[0]!).split("/")[0];
  return files.length === 1 ? files[0]!.name : top || `${files.length} DICOM files`;
}
