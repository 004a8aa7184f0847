/** The record of a strip, as the Python package's own reader takes it. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { expect, it } from "vitest";

import { diagonal, makeAffine } from "../src/image/affine";
import { Field } from "../src/image/field";
import { makeFingerprint } from "../src/image/fingerprint";
import { openImage } from "../src/image/formats";
import { Grid } from "../src/image/grid";
import { groupFiles } from "../src/image/names";
import { makeVolume } from "../src/image/volume";
import { loadWeights } from "../src/network/weights";
import { Brain, Result } from "../src/result";
import { DEFAULTS } from "../src/settings";
import { field, file, index, readFile } from "./support";

const WEIGHTS = join(import.meta.dirname, "../../src/deskull/weights/default");
const READ = `
import json, sys
from deskull.record import Record
from deskull.typed_json import from_plain, to_plain
record = from_plain(Record, json.load(sys.stdin))  # refuses a key that it does not know
print(json.dumps({"mask": record.mask_kind, "ml": record.final_ml, "record": to_plain(record)}))
`;

function readInPython(record: object): { mask: string; ml: number; record: any } {
  return JSON.parse(execFileSync(process.env.PYTHON ?? "python3", ["-c", READ], { input: JSON.stringify(record), encoding: "utf-8" }));
}

const readWeights = () => loadWeights("default", async (part) => Uint8Array.from(readFileSync(join(WEIGHTS, part))));

async function makeResult(name: string): Promise<Result> {
  const volume = makeVolume(await openImage([file(name)], null), name);
  const { shape } = volume.grid;
  const probability = new Field(new Float32Array(volume.grid.voxels), shape);
  probability.crop(shape.map((n) => [1, n - 1] as [number, number])).forEach((place) => (probability.values[place] = 0.9));
  const brain = new Brain(name, probability, shape.map((n) => [0, n]) as never, volume.grid);
  brain.makeMask(DEFAULTS);
  return new Result(volume, brain, () => brain, DEFAULTS, index.judged![0]!.traits, { weights: await readWeights(), threads: 1, onWebgpu: false }, { locate: 0.51234, segment: 1 });
}

it("is one that Python reads, of the schema that it writes", async () => {
  const result = await makeResult("slope_NaN.nii");
  const [item] = groupFiles([file("slope_NaN.nii")]);
  const record = result.makeRecord("1.2.3", await makeFingerprint(item!.files), null);
  const read = readInPython(record);
  expect(read.record).toEqual(record);
  expect(read.record.schema).toBe(index.constants.SCHEMA);
  expect(read.mask).toBe("automatic");
  expect(read.ml).toBe(read.record.volume_ml);
});

it("tells a mended mask from the automatic one, which stays in it", async () => {
  const result = await makeResult("slope_NaN.nii");
  const [item] = groupFiles([file("slope_NaN.nii")]);
  const fingerprint = await makeFingerprint(item!.files);
  const values = result.brain.mask.values.slice();
  const make = () => readInPython(result.makeRecord("1.2.3", fingerprint, { values, name: "x_mask.nii.gz" }));
  expect(make().mask).toBe("automatic"); // drawn and undone
  const before = make().ml;
  const { score } = result.judge();
  expect(result.describe(values)).toMatch(new RegExp(`^\\d+ ml, score ${score}`));
  values[values.indexOf(1)] = 0;
  expect(result.describe(values)).toMatch(/^\d+ ml, corrected by hand$/); // which nobody has judged
  const { mask, ml, record } = make();
  expect([mask, record.corrected.file, record.volume_ml]).toEqual(["corrected", "x_mask.nii.gz", before]);
  expect(ml).toBeLessThan(before);
});

it("judges the mask that the sliders make", async () => {
  const one = index.judged![0]!;
  const grid = new Grid(one.data.shape, makeAffine(diagonal(Array(3).fill(one.voxel_size)), [0, 0, 0]));
  const volume = { data: field(one.data), grid, source: null as never, name: "x", padding: null, notes: [] };
  const brain = new Brain("x", field(one.probability), grid.shape.map((n) => [0, n]) as never, grid);
  brain.makeMask(DEFAULTS);
  const result = new Result(volume, brain, () => brain, DEFAULTS, one.traits, { weights: await readWeights(), threads: 1, onWebgpu: false }, {});
  const find = () => result.judge().flags.find(({ name }) => name === "volume")?.sentence;
  expect(find()).toBeUndefined();
  result.remake({ ...DEFAULTS, border: -8 });
  expect(find()).toContain(`The mask has ${result.measureMl(brain.mask.values).toFixed(0)} ml`);
});

it.each(index.fingerprints!)("knows the files of $name as Python does", async ({ name, files, bytes, sha256 }) => {
  const dropped = files.map((path: string) => Object.assign(new File([readFile(path)], basename(path)), { path }));
  const [item] = groupFiles(dropped);
  expect(item!.name).toBe(name);
  const read = item!.isDicom ? (item!.folder ?? item!.files) : (await openImage(item!.files, null)).files;
  expect(await makeFingerprint(read)).toEqual({ bytes, modified: null, sha256 });
});
