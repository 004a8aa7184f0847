/** What of DICOM is taken as a scan, given what dcm2niix makes of it. */

import { zipSync } from "fflate";
import { beforeEach, expect, it, vi } from "vitest";

import { convertDicom } from "../src/image/dicom";

const converter = vi.hoisted(() => ({ given: [] as File[], made: [] as string[] }));

vi.mock("@niivue/dcm2niix", () => ({
  Dcm2niix: class {
    worker = null;
    init = () => Promise.resolve(true);
    input = (files: File[]) => ((converter.given = files), this);
    b = () => this;
    ba = () => this;
    z = () => this;
    f = () => this;
    run = async () => converter.made.map((name) => new File([name.endsWith("json") ? '{"SeriesDescription": "t1"}' : "x".repeat(352)], name));
  },
}));

const slices = (...contents: string[]) => contents.map((content, k) => new File([content], `IM${k}`));
const zip = (files: Record<string, string>) =>
  new File([zipSync(Object.fromEntries(Object.entries(files).map(([name, text]) => [name, new TextEncoder().encode(text)]))) as BlobPart], "x.zip");
const convert = (files: readonly File[], series: string | null = null) => convertDicom(files, series, "head", new AbortController().signal);

beforeEach(() => {
  converter.given = [];
  converter.made = ["3.json", "3.nii"];
});

it("refuses a series of which files are empty", async () => {
  const words = "head: 2 of 3 files are empty. Copy them again; or move them away to do without.";
  await expect(convert(slices("a", "", ""))).rejects.toThrow(words);
  await expect(convert([zip({ "s/1": "a", "s/2": "", "s/3": "" })])).rejects.toThrow(words);
  expect(converter.given).toEqual([]);
});

it("takes no file of a zip that lies beside the slices", async () => {
  const { notes } = await convert([zip({ "s/": "", "s/1": "a", "s/2": "b", "s/README": "", "__MACOSX/._1": "", "s/notes.txt": "" })]);
  expect([converter.given.length, notes]).toEqual([2, []]);
});

it.each([
  ["3_Eq_1", "its slices had uneven distances; the image resampled by dcm2niix was used"],
  ["3_Tilt_1", "its slices were sheared (tilted gantry); the image resampled by dcm2niix was used"],
])("takes %s alone, not the image whose slices lie elsewhere, and says so", async (label, note) => {
  converter.made.push(`${label}.nii`);
  const { files, notes } = await convert(slices("a", "b"));
  expect([files.map(({ name }) => name), notes]).toEqual([[`${label}.nii`], [note]]);
  converter.made.push("4.nii");
  await expect(convert(slices("a", "b"))).rejects.toMatchObject({ kind: "series", options: [`${label} t1`, "4"] });
  expect((await convert(slices("a", "b"), label)).notes).toEqual([note]);
  expect((await convert(slices("a", "b"), "4")).notes).toEqual([]);
});

it("says where nothing whole is found", async () => {
  converter.made = [];
  await expect(convert(slices("a"))).rejects.toThrow(/^head: no whole DICOM image in it/);
});
