/** Files in, files out: what is read and written against Python, byte by byte. */

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

it("puts files together that make up one scan", () => {
  const names = ["a.nii.gz", "b.hdr", "b.img", "c.mhd", "c.raw", "IM0001", "IM0002.dcm", "notes.txt", ".DS_Store", "s.zip"];
  const items = groupFiles(names.map((name) => new File(["x"], name)));
  expect(items.map(({ files }) => files.map(({ name }) => name))).toEqual([
    ["a.nii.gz"],
    ["b.hdr", "b.img"],
    ["c.mhd", "c.raw"],
    ["s.zip"],
    ["IM0001", "IM0002.dcm"],
  ]);
  expect(items.map(({ isDicom }) => isDicom)).toEqual([false, false, false, true, true]);
});
