/** Real heads, where there are some: the folder that DESKULL_TEST_DATA names. */

import { existsSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import { Browser, DIST, Server } from "./browser";
import { dice, readHeader, readMask } from "./compare";
import { stripHead } from "./heads";

const reference = inject("reference");
const folder = process.env.DESKULL_TEST_DATA ?? "";
const NAMES = ["philips_T1w", "fs01_T1w", "robex_T1w", "ds011_03_T2w", "openms12s1_FLAIR"];

describe.skipIf(!Browser.isHere || !existsSync(join(folder, "heads")))("real heads", () => {
  let server: Server;

  beforeAll(async () => {
    server = await Server.start(DIST);
  });

  afterAll(() => server?.stop());

  it.each(NAMES)("%s has the mask of the command line", async (name) => {
    const [found, wanted] = [join(reference, `${name}.page.nii.gz`), join(reference, `${name}.nii.gz`)];
    const { outside, peakMb } = await stripHead(server, join(folder, "heads", `${name}.nii.gz`), found);
    expect(readHeader(found)).toEqual(readHeader(wanted));
    expect(dice(readMask(found), readMask(wanted))).toBeGreaterThan(0.999);
    expect(outside).toEqual([]);
    expect(peakMb).toBeLessThan(1500);
  });
});
