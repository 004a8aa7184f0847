/** Traits, doubts and score, against Python. */

import { describe, expect, it } from "vitest";

import { PADDING_LIMITS } from "../src/image/padding";
import { CHOSEN, findUnlike } from "../src/measure/likeness";
import { LIMITS } from "../src/measure/quality";
import { COSTS, judge, LOW, TERMS, UNLIKE_WEIGHT } from "../src/measure/score";
import { measureTraits, TRAITS } from "../src/measure/traits";
import { SUFFIXES } from "../src/page/downloads";
import { SCHEMA } from "../src/result";
import { DEFAULTS } from "../src/settings";
import type { Card } from "../src/network/weights";
import { readFileSync } from "node:fs";
import { field, index, mask } from "./support";

const path = new URL("../../src/deskull/weights/default/card.json", import.meta.url);
const card = JSON.parse(readFileSync(path, "utf-8")) as Card;

it("has the constants of the Python package", () => {
  const { limits, ...others } = index.constants;
  expect({ LOW, TERMS, UNLIKE_WEIGHT, COSTS, TRAITS, CHOSEN, DEFAULTS, PADDING_LIMITS, SCHEMA, SUFFIXES }).toEqual(others);
  expect(LIMITS).toEqual(limits);
});

describe.each(index.judged!)("head %#", (one) => {
  const traits = measureTraits(field(one.image), field(one.logits), one.voxel_size);

  it("has the traits that Python measures", () => {
    expect(Object.keys(traits).sort()).toEqual(Object.keys(one.traits).sort());
    for (const [name, value] of Object.entries(traits)) {
      expect(Math.abs(value - one.traits[name]), name).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(value)));
    }
    const unlike = findUnlike(traits, card)!;
    for (const [name, value] of Object.entries(unlike)) expect(value).toBeCloseTo(one.unlike[name], 3);
  });

  it("gets the same doubts and score", () => {
    const size = one.voxel_size;
    const { shape } = one.mask;
    const box = shape.map((n: number) => [0, n]);
    const scan = { data: field(one.data), mask: mask(one.mask), probability: field(one.probability), box };
    const judged = judge({ ...scan, voxelSize: [size, size, size], padded: one.padded }, traits, card);
    expect(judged.flags).toEqual(one.judged.flags);
    expect(judged.score).toBe(one.judged.score);
  });
});
