/** The way in and back for every stored orientation, against Python. */

import { describe, expect, it } from "vitest";

import { Grid } from "../src/image/grid";
import { conform, findHeadCentres, makeWindow, toNative } from "../src/prepare/conform";
import { findAir } from "../src/prepare/intensity";
import { expectClose, expectNear, field, index } from "./support";

describe.each(["orientations", "fields"])("%s", (group) => {
  it.each(index[group]!)("$name", (one) => {
    const grid = new Grid(one.shape, one.affine);
    const data = field(one.data);
    expect(grid.orientation).toBe(one.orientation);
    const window = makeWindow(one.centre, grid, [7, 8, 6], one.size);
    expectNear(window.affine.flat(), one.window.flat());
    const conformed = conform(data, grid, window, -5);
    expectClose(conformed, field(one.conformed), 2e-3);
    const logits = field(one.conformed);
    logits.values.forEach((value, i) => (logits.values[i] = value / 100));
    const found = toNative(logits, window, grid)!;
    expect(found.box).toEqual(one.box);
    expectClose(found.native, field(one.native), 2e-5);
    expect(findAir(data, grid)).toBeCloseTo(one.air, 2);
    const centres = findHeadCentres(data, grid, 10);
    expectNear(centres.flat(), one.heads.flat());
  });
});

it("refuses what has no place in space", () => {
  const affine = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1e-9, 0], [0, 0, 0, 1]];
  expect(() => new Grid([2, 2, 2], affine)).toThrow("singular affine");
  expect(() => new Grid([2, 0, 2], affine)).toThrow("three positive numbers");
  expect(() => new Grid([2, 2, 2], [[NaN, 0, 0, 0], ...affine.slice(1)])).toThrow("finite");
});
