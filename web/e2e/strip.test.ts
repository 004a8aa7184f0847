/** The page as a person uses it: scans in, masks out, equal to the command line's. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import { Browser, DIST, keep, Server, strip, waitReady } from "./browser";
import { countDifferent, dice, readHeader, readMask } from "./compare";

const reference = inject("reference");
const find = (name: string) => join(reference, name);

describe.skipIf(!Browser.isHere)("the page", () => {
  let server: Server;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    server = await Server.start(DIST);
    browser = await Browser.start(server.address);
    page = await browser.open();
  });

  afterAll(async () => {
    await browser?.stop();
    server?.stop();
  });

  it("draws the mask of the command line, with its header", async () => {
    await strip(page, find("demo_T1w.nii.gz"));
    expect(await keep(page, "[data-output=mask]", find("page_mask.nii.gz"))).toBe("demo_T1w_mask.nii.gz");
    expect(dice(readMask(find("page_mask.nii.gz")), readMask(find("mask.nii.gz")))).toBeGreaterThan(0.999);
    expect(readHeader(find("page_mask.nii.gz"))).toEqual(readHeader(find("mask.nii.gz")));
  });

  it("gives the brain, a picture and a record", async () => {
    await keep(page, "[data-output=brain]", find("page_brain.nii.gz"));
    expect(readHeader(find("page_brain.nii.gz"))).toEqual(readHeader(find("brain.nii.gz")));
    await keep(page, "[data-output=picture]", find("page.png"));
    const picture = readFileSync(find("page.png"));
    expect([picture.toString("latin1", 1, 4), picture.readUInt32BE(16)]).toEqual(["PNG", 1600]);
    await keep(page, "[data-output=record]", find("page.json"));
    const [found, wanted] = ["page.json", "record.json"].map((name) => JSON.parse(readFileSync(find(name), "utf-8")));
    wanted.input.modified = null; // which a browser does not know in ns
    expect(Object.keys(found)).toEqual(Object.keys(wanted));
    for (const field of ["schema", "status", "score", "flags", "input", "weights"]) expect(found[field]).toEqual(wanted[field]);
    expect(Math.abs(found.volume_ml - wanted.volume_ml)).toBeLessThan(1);
    expect(await page.textContent("#volume")).toBe(`${found.volume_ml.toFixed(0)} ml`);
  });

  it("gives the probability", async () => {
    expect(await keep(page, "[data-output=probability]", find("page_probability.nii.gz"))).toBe("demo_T1w_probability.nii.gz");
    const [found, wanted] = ["page_probability.nii.gz", "probability.nii.gz"].map((name) => find(name));
    expect(readHeader(found!)).toEqual(readHeader(wanted!));
    const [one, other] = [found!, wanted!].map((path) => new Float32Array(Uint8Array.from(readMask(path)).buffer));
    const apart = one!.map((value, i) => Math.abs(value - other![i]!));
    expect(one!.some((value) => value > 0.9)).toBe(true);
    expect(apart.reduce((most, value) => Math.max(most, value), 0)).toBeLessThan(0.002);
  });

  it("moves threshold and border as the command line does", async () => {
    await page.fill("#threshold", "0.4");
    await page.fill("#border", "1.5");
    await keep(page, "[data-output=mask]", find("page_moved.nii.gz")); // at once: it waits for the mask that the sliders ask for
    expect(dice(readMask(find("page_moved.nii.gz")), readMask(find("moved.nii.gz")))).toBeGreaterThan(0.999);
    expect(await page.textContent("#border-value")).toBe("+1.5 mm");
    await keep(page, "[data-output=record]", find("page_moved.json"));
    const [found, wanted] = ["page_moved.json", "moved.json"].map((name) => JSON.parse(readFileSync(find(name), "utf-8")));
    for (const field of ["score", "flags"]) expect(found[field]).toEqual(wanted[field]);
    expect(await page.textContent("#score")).toBe(`score ${wanted.score}`);
  });

  it("leaves out the CSF as the command line does", async () => {
    await page.click("#reset");
    await page.check("#tissue");
    await keep(page, "[data-output=mask]", find("page_tissue.nii.gz"));
    expect(dice(readMask(find("page_tissue.nii.gz")), readMask(find("tissue.nii.gz")))).toBeGreaterThan(0.999);
    await keep(page, "[data-output=record]", find("page_tissue.json"));
    const [found, wanted] = ["page_tissue.json", "tissue.json"].map((name) => JSON.parse(readFileSync(find(name), "utf-8")));
    for (const field of ["score", "flags", "settings"]) expect(found[field]).toEqual(wanted[field]);
  });

  it("goes back to the automatic mask", async () => {
    await page.click("#reset");
    await keep(page, "[data-output=mask]", find("page_reset.nii.gz"));
    expect(countDifferent(readMask(find("page_reset.nii.gz")), readMask(find("page_mask.nii.gz")))).toBe(0);
  });

  it("treats padding as air, and says so", async () => {
    await strip(page, find("padded.nii.gz"));
    expect(await page.textContent("#doubts div")).toBe(JSON.parse(readFileSync(find("padded.json"), "utf-8")).input.notes[0]);
    await keep(page, "[data-output=mask]", find("page_padded.nii.gz"));
    expect(dice(readMask(find("page_padded.nii.gz")), readMask(find("padded_mask.nii.gz")))).toBeGreaterThan(0.999);
  });

  it("says what is wrong with a file, and goes on", async () => {
    await page.setInputFiles("#files", find("words.nii.gz"));
    await page.waitForFunction(() => document.body.dataset.state === "failed");
    expect(await page.textContent("#said")).toMatch(/^words.nii.gz: not an image, it starts with "no image at "/);
    await page.click("[data-entry='0']");
    await page.waitForFunction(() => document.body.dataset.state === "ready", null, { timeout: 180_000 });
    expect(await page.textContent("#name")).toBe("demo_T1w.nii.gz");
  });

  it("asks for the frame of a 4D file", async () => {
    await page.setInputFiles("#files", find("frames.nii.gz"));
    await page.waitForSelector("#choice[open]");
    expect(await page.textContent("#choice-words")).toContain("Choose a frame (0 to 1)");
    await page.selectOption("#choice-options", "1");
    await page.click("#choice button[value=take]");
    await waitReady(page);
    expect(await page.evaluate(() => document.body.dataset.state)).toBe("ready");
  });

  it("reads a DICOM series", async () => {
    await page.setInputFiles("#folder", find("series"));
    await page.waitForFunction(() => document.querySelector("#name")!.textContent === "series");
    await waitReady(page);
    await keep(page, "[data-output=mask]", find("page_series.nii.gz"));
    expect(dice(readMask(find("page_series.nii.gz")), readMask(find("series_mask.nii.gz")))).toBeGreaterThan(0.999);
    await keep(page, "[data-output=record]", find("page_series.json"));
    const [found, wanted] = ["page_series.json", "series.json"].map((name) => JSON.parse(readFileSync(find(name), "utf-8")).input);
    expect([found.path, found.sha256]).toEqual([wanted.path, wanted.sha256]);
  });

  it("packs all scans into one zip", async () => {
    await keep(page, "#zip", find("all.zip"));
    const text = readFileSync(find("all.zip")).toString("latin1");
    for (const name of ["demo_T1w_mask.nii.gz", "demo_T1w_record.json", "frames_frame-1_brain.nii.gz", "series_picture.png"]) {
      expect(text).toContain(name);
    }
  });

  it("stops when told to, and starts again", async () => {
    await page.setInputFiles("#files", find("second.nii.gz"));
    await page.waitForFunction(() => document.querySelector("#name")!.textContent === "second.nii.gz");
    await page.click("#cancel");
    await page.waitForFunction(() => document.body.dataset.state === "stopped");
    await page.click("#again");
    await waitReady(page);
    expect(await page.evaluate(() => document.body.dataset.state)).toBe("ready");
  });

  it("survives a worker that dies, and keeps what was drawn", async () => {
    await page.workers()[0]!.evaluate(() => void setTimeout(() => { throw new Error("out of memory"); }));
    await page.waitForFunction(() => document.body.dataset.state === "failed");
    expect(await page.textContent("#said")).toContain("out of memory");
    await page.click("#again");
    await page.waitForFunction(() => document.body.dataset.state === "working");
    await waitReady(page);
    expect(await page.evaluate(() => document.body.dataset.state)).toBe("ready");
  });

  it("works without a network, and has asked nobody else for anything", async () => {
    await browser.context.setOffline(true);
    page.once("dialog", (dialog) => void dialog.accept());
    await page.reload();
    await page.click("#example");
    await waitReady(page);
    expect(await page.evaluate(() => document.body.dataset.state)).toBe("ready");
    await browser.context.setOffline(false);
    expect(browser.outside).toEqual([]);
    expect(browser.faults.filter((words) => !words.includes("out of memory"))).toEqual([]);
  });
});
