/** Files in, files out: what is read and written against Python, byte by byte. */

import { gzipSync } from "node:zlib";

import { describe, expect, it } from "vitest";

import { openImage } from "../src/image/formats";
import { groupFiles } from "../src/image/names";
import { encodeBrain, encodeMap, encodeMask, makeVolume } from "../src/image/volume";
import { expectClose, expectNear, field, file, index, mask, readFile } from "./support";

function join(parts: readonly Uint8Array[]): number[] {
  return parts.flatMap((part) => [...part]);
}

describe.each(index.images!)("$files.0", (one) => {
  const [name] = one.files;
  const read = async () => makeVolume(await openImage(one.files.map(file), one.frame), name);

  it("is read as Python reads it", async () => {
    const volume = await read();
    expectNear(volume.grid.affine.flat(), one.affine.flat(), 1e-5);
    expectClose(volume.data, field(one.data), 0);
    const count = (notes: string[]) => notes.map((note) => note.replace(/^\d+ bytes after/, "bytes after")); // which the page does not count
    expect(volume.notes).toEqual(count(one.notes));
  });

  it("gives the bytes that Python writes", async () => {
    const { source } = await read();
    const inside = mask(one.inside).values;
    const encodeLevels: typeof encodeMask = (within, of) => encodeMap(Float32Array.from(within, (value) => (value ? 0.7 : 0.1)), of);
    for (const [output, encode] of [["mask", encodeMask], ["brain", encodeBrain], ["map", encodeLevels]] as const) {
      const found = join(encode(inside, source));
      const wanted = [...readFile(one[output])];
      const [quaternion, end] = [256, 268]; // of a header that had to be made: right to a float's last bits
      const keep = (_: number, i: number) => !one.made || i < quaternion || i >= end;
      expect(found.filter(keep)).toEqual(wanted.filter(keep));
    }
  });
});

it.each(index.refused!)("refuses $file in Python's words", async ({ file: name, message }) => {
  const read = openImage([file(name)], null).then((source) => makeVolume(source, name));
  const error = await read.then(
    () => null,
    (reason: Error) => reason,
  );
  expect(error?.message).toMatch(new RegExp(`^${name}: `));
  const number = (words: string) => words.replaceAll("MGH/MGZ, NRRD, MetaImage, MINC", "MGH/MGZ, NRRD, MetaImage").replaceAll(/(\d)\.0\b/g, "$1").replaceAll(", ", ",");
  if (message) expect(number(error!.message)).toBe(number(message));
});

it("asks for the frame of a 4D file", async () => {
  const error = await openImage([file("frames.nii.gz")], null).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ kind: "frame", options: ["0", "1", "2"] });
});

const put = (paths: readonly string[], content = "x") =>
  groupFiles(paths.map((path) => Object.assign(new File([content], path.split("/").at(-1)!), { path })));

it("puts files together that make up one scan", () => {
  const items = put(["a.nii.gz", "b.hdr", "b.img", "c.mhd", "c.raw", "IM0001", "IM0002.dcm", "notes.txt", ".DS_Store", "s.zip"]);
  expect(items.map(({ files }) => files.map(({ name }) => name))).toEqual([
    ["a.nii.gz"],
    ["b.hdr", "b.img"],
    ["c.mhd", "b.img", "c.raw"], // its text says which
    ["s.zip"],
    ["IM0001", "IM0002.dcm"],
  ]);
  expect(items.map(({ isDicom }) => isDicom)).toEqual([false, false, false, true, true]);
});

it("takes each folder of DICOM that is dropped as one scan", () => {
  const items = put(["b/1/IM2", "a/IM1", "b/1/IM1", "a/sub/IM2", "IM1", "IM2", "c/IM1"]);
  expect(items.map(({ name, files }) => [name, files.length])).toEqual([["2 DICOM files", 2], ["a", 2], ["b", 2], ["c", 1]]);
});

it("passes by what lies beside scans", () => {
  const names = ["x.bval", "x.bvec", "README", "CHANGES", "a.md", "b.log", "c.py", "d.tsv.gz", "._x.nii.gz", "Thumbs.db", "x.nii.gz"];
  expect(put(names).map(({ name }) => name)).toEqual(["x.nii.gz"]);
  expect(put(["README"])[0]!.isDicom).toBe(false); // alone, it is refused as no image
});

it.each([
  ["x.mnc", "CDF\x01", /^x.mnc: MINC is not read in the browser/],
  ["x.mnc.gz", "x", /^x.mnc.gz: MINC is not read in the browser/],
  ["x.mnc", "\x89HDF\r\n", /^x.mnc: MINC is not read in the browser/],
  ["x.img", "x", /^x.img: its .hdr is missing beside it; expected both files of the pair/],
  ["x.nii.bz2", "BZh9", /^x.nii.bz2: this packing is not read in the browser. Unpack it, or use the command line.$/],
  ["x.nii.xz", "\xfd7zXZ\0", /this packing/],
  ["x.nii.zst", "(\xb5/\xfd", /this packing/],
  ["x.tar.gz", "x", /this packing/],
  ["x.par", "x", /^x.par: not an image/],
])("refuses %s by its name, whatever is dropped with it", async (name, content, message) => {
  const bytes = Uint8Array.from(content, (letter) => letter.charCodeAt(0));
  const item = groupFiles([new File([bytes], name), new File(["x"], "y.nii.gz")]).find((one) => one.name === name)!;
  expect(item.isDicom).toBe(false);
  await expect(openImage(item.files, null)).rejects.toThrow(message);
});

it("reads no text that is packed, nor a pair of which one file is", async () => {
  const packed = new File([gzipSync(readFile("scan.nrrd"))], "scan.nrrd.gz");
  await expect(openImage([packed], null)).rejects.toThrow(/^scan.nrrd.gz: this packing/);
  const [item] = groupFiles([file("scan.hdr"), new File(["BZh9"], "scan.img.bz2")]);
  await expect(openImage(item!.files, null)).rejects.toThrow(/^scan.img.bz2: this packing/);
});
