/** What of a scan was not measured, against Python. */

import { describe, expect, it } from "vitest";

import { describePadding, takeOutPadding } from "../src/image/padding";
import { toGeneral } from "../src/statistics";
import { field, index } from "./support";

describe.each(index.padded!)("$name", (one) => {
  it("has the padding that Python finds", () => {
    const data = field(one.data);
    const before = data.values.filter(Number.isFinite).length;
    const found = takeOutPadding(data);
    expect(found).toEqual(one.padding);
    expect(before - data.values.filter(Number.isFinite).length).toBe(found?.voxels ?? 0);
    if (found) expect(describePadding(found, data.size)).toBe(one.words);
  });
});

it("has scans with padding and without", () => {
  const found = index.padded!.filter(({ padding }) => padding).length;
  expect(found).toBeGreaterThan(9);
  expect(index.padded!.length - found).toBeGreaterThan(9);
});

it.each([
  [0, "0"],
  [-1000, "-1000"],
  [1e6, "1e+06"],
  [123456.7, "123457"],
  [-3.4e38, "-3.4e+38"],
  [0.00012, "0.00012"],
  [1.2e-5, "1.2e-05"],
])("writes %d as %s", (value, words) => {
  expect(toGeneral(value)).toBe(words);
});
