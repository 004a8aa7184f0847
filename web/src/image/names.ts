/** What a file's name says: its format, its stem, and which file lies beside it. As `src/deskull/image/file_names.py` has it. */

const PACKED = [".gz", ".bz2", ".xz", ".zst"];
const withPacked = (plain: readonly string[]) => plain.flatMap((suffix) => [suffix, ...PACKED.map((packed) => suffix + packed)]);

/** Suffixes of files that are an image, or the header of one. */
const HEADERS = withPacked([".nii", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc", ".hdr"]);
/** Headers as text, which may name any file beside them for their voxels. */
const TEXT_HEADERS = [".nhdr", ".mhd", ".nrrd", ".mha"];
const IMG = withPacked([".img"]);
const RAW = [".raw", ".zraw", ".raw.gz"];
const VOXELS = [...RAW, ...IMG, ".bin", ".dat"];

export const ARCHIVES = [...withPacked([".tar"]), ".tgz", ".tbz", ".tbz2", ".txz"];
/** Of image formats that are not read. */
const FOREIGN = [".par", ".rec", ".head", ".brik", ".brik.gz", ".mif", ".mif.gz", ".mih", ".fdf", ".v"];
/** Of what often lies beside images and is none. */
const TEXTS = withPacked([".json", ".tsv", ".csv", ".txt", ".bval", ".bvec", ".md", ".log", ".html", ".png", ".py", ".xml"]);
const BESIDE = [...TEXTS, ...RAW, ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".yml", ".yaml", ".ini", ".sh"];
const NO_SCAN = /^(\..*|DICOMDIR|README|CHANGES|LICEN[CS]E|Thumbs\.db)$/i;

function findSuffixOf(name: string, known: readonly string[]): string {
  return known.find((suffix) => name.toLowerCase().endsWith(suffix)) ?? "";
}

/** Suffix that names the format, in lower case, such as ".nii.gz"; else "". */
export function findSuffix(name: string): string {
  return findSuffixOf(name, [...HEADERS, ...IMG, ...RAW, ...ARCHIVES, ".dcm", ".ima", ".zip"]);
}

/** Suffix of the format alone, without that of a packing: ".nii" of "x.nii.gz". */
export function findFormat(name: string): string {
  const suffix = findSuffix(name);
  return suffix.slice(0, suffix.length - findSuffixOf(suffix, PACKED).length);
}

/** Name of a file without the suffix of its format. */
export function findStem(name: string): string {
  return name.slice(0, name.length - findSuffix(name).length);
}

/** Whether a file is none of a scan, by its name. */
export function isBeside(name: string): boolean {
  return NO_SCAN.test(name) || findSuffixOf(name, BESIDE) !== "";
}

/** Files that make up one scan: an image with what lies beside it, or a folder of DICOM. */
export interface Item {
  name: string;
  files: File[];
  isDicom: boolean;
  /** All files of a dropped folder of DICOM: by them its record knows it. */
  folder?: File[];
}

/** The folder that a file came from, as far as the browser tells. */
function findFolder(file: File): string {
  const path = file.webkitRelativePath || (file as { path?: string }).path || "";
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** Put files that belong together into one scan each; the rest, unless its name tells, is DICOM: each dropped folder one scan. */
export function groupFiles(files: readonly File[]): Item[] {
  const isIt = (file: File, suffixes: readonly string[]) => findSuffixOf(file.name, suffixes) !== "";
  const seen = files.length === 1 ? files : files.filter(({ name }) => !NO_SCAN.test(name));
  const folders = groupBy(seen, findFolder);
  const images = seen.filter((file) => isIt(file, HEADERS)).map((file) => [file, ...findPartners(file, folders.get(findFolder(file))!)]);
  const taken = new Set(images.flat());
  const rest = seen.filter((file) => !taken.has(file) && (files.length === 1 || !isIt(file, BESIDE)));
  const isUnread = (file: File) => isBeside(file.name) || isIt(file, [...IMG, ...ARCHIVES, ...FOREIGN]);
  const dicom = rest.filter((file) => !isUnread(file)).sort(comparePaths);
  const isZip = (file: File) => isIt(file, [".zip"]);
  const slices = groupBy(dicom.filter((file) => !isZip(file)), findTop);
  const dropped = groupBy(files.filter(({ name }) => !name.startsWith(".")).sort(comparePaths), findTop);
  return [
    ...[...images, ...rest.filter(isUnread).map((file) => [file])].map((own) => ({ name: own[0]!.name, files: own, isDicom: false })),
    ...dicom.filter(isZip).map((zip) => ({ name: zip.name, files: [zip], isDicom: true })),
    ...[...slices].map(([top, own]) => ({ name: nameDicom(top, own), files: own, isDicom: true, folder: top ? dropped.get(top) : own })),
  ];
}

function groupBy<T>(all: readonly T[], find: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(find(one));
    if (group) group.push(one);
    else groups.set(find(one), [one]);
  }
  return groups;
}

/** What may hold the voxels of a header: of a pair the one file, of a text all that it may name. */
function findPartners(header: File, beside: readonly File[]): File[] {
  const stem = findStem(header.name).toLowerCase();
  const others = beside.filter(({ name }) => !findSuffixOf(name, HEADERS) && !findSuffixOf(name, TEXTS));
  if (findFormat(header.name) === ".hdr") {
    const packing = findSuffix(header.name).slice(".hdr".length);
    const names = [`.img${packing}`, ...IMG].map((suffix) => stem + suffix);
    const found = names.map((wanted) => others.find(({ name }) => name.toLowerCase() === wanted));
    return found.filter((file) => file !== undefined).slice(0, 1);
  }
  if (!TEXT_HEADERS.includes(findSuffix(header.name))) return [];
  return others.filter(({ name }) => findSuffixOf(name, VOXELS) || name.toLowerCase() === `${stem}.gz`);
}

/** The order in which Python lists the files of a folder. */
function comparePaths(one: File, other: File): number {
  const [a, b] = [one, other].map((file) => [...findFolder(file).split("/"), file.name]) as [string[], string[]];
  const k = a.findIndex((part, at) => part !== b[at]);
  return k < 0 || k >= b.length ? a.length - b.length : a[k]! < b[k]! ? -1 : 1;
}

/** The folder that was dropped, with all that lies below it. */
function findTop(file: File): string {
  return findFolder(file).split("/")[0]!;
}

function nameDicom(top: string, files: readonly File[]): string {
  return top || (files.length === 1 ? files[0]!.name : `${files.length} DICOM files`);
}
