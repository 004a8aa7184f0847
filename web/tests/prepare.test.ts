/** Intensities, pieces, holes, distance and border, against Python. */

import { describe, expect, it } from "vitest";

import { diagonal, makeAffine } from "../src/image/affine";
import { emptyMask } from "../src/image/field";
import { Grid } from "../src/image/grid";
import { measureExtent, WindowSettings } from "../src/prepare/conform";
import { normalise } from "../src/prepare/intensity";
import { cleanMask, makeSignedDistance, moveBorder } from "../src/prepare/postprocess";
import { expectClose, expectNear, field, index, mask } from "./support";

it.each(index.intensities!)("normalises image %#", (one) => {
  expectClose(normalise(field(one.image)), field(one.normalised), 1e-5);
});

describe.each(index.masks!)("mask %#", (one) => {
  it("keeps the largest piece without holes", () => {
    expectClose(cleanMask(mask(one.mask)), mask(one.clean), 0);
  });

  it("measures the distance to its surface", () => {
    expectClose(makeSignedDistance(mask(one.clean), one.voxel_size), field(one.distance), 0);
  });

  it("knows where it lies", () => {
    const grid = new Grid(one.mask.shape, makeAffine(diagonal(one.voxel_size), [0, 0, 0]));
    const { centre, extent } = measureExtent(mask(one.clean), grid);
    expectNear(centre, one.centre);
    expectNear(extent!, one.extent);
  });

  it.each(Object.keys(one.borders))("moves by %s mm", (border) => {
    expectClose(moveBorder(mask(one.clean), one.voxel_size, Number(border)), mask(one.borders[border]), 0);
  });
});

it.each(index.windows!)("fits window %#", (one) => {
  expect(WindowSettings.read(one.window).chooseVoxelSize(one.extent)).toBeCloseTo(one.size, 9);
});

it("leaves an empty mask empty", () => {
  const empty = emptyMask([3, 4, 5]);
  expect(cleanMask(empty).values.some(Boolean)).toBe(false);
  expect(moveBorder(empty, [1, 1, 1], 2).values.some(Boolean)).toBe(false);
});
