/** What a hand does to the mask of a scan with thick slices: the saved mask differs exactly where it drew. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { drawStroke, type Grid } from "@review/editing/draw.js";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import { Browser, DIST, keep, Server, strip } from "./browser";
import { countDifferent, dice, readHeader, readMask } from "./compare";

const reference = inject("reference");
const find = (name: string) => join(reference, name);

describe.skipIf(!Browser.isHere)("the page", () => {
  let server: Server;
  let browser: Browser;
  let page: Page;
  let automatic: Uint8Array;
  let grid: Grid;

  beforeAll(async () => {
    server = await Server.start(DIST);
    browser = await Browser.start(server.address);
    page = await browser.open();
    await strip(page, find("thick.nii.gz"));
    automatic = await save();
    const header = new DataView(Uint8Array.from(readHeader(find("mended.nii.gz"))).buffer);
    const read = (from: number, get: (at: number) => number, step: number) => [0, 1, 2].map((k) => get(from + k * step)) as [number, number, number];
    grid = { shape: read(42, (at) => header.getInt16(at, true), 2), size: read(80, (at) => header.getFloat32(at, true), 4) };
  });

  afterAll(async () => {
    await browser?.stop();
    server?.stop();
  });

  async function save(): Promise<Uint8Array> {
    await keep(page, "[data-output=mask]", find("mended.nii.gz"));
    return readMask(find("mended.nii.gz"));
  }

  /** The voxel under the cross-hair, or under the mouse, as the page shows it. */
  async function readCross(): Promise<number[]> {
    return (await page.textContent("#under"))!.split(":")[0]!.split(" ").map(Number);
  }

  /** The automatic mask with a stroke through it, or a dot. */
  function draw(from: number[], to: number[], radius: number, value: 0 | 1, axis: number): Uint8Array {
    const mask = Uint8Array.from(automatic);
    expect(drawStroke(mask, grid, from, to, radius, value, axis).length).toBeGreaterThan(20);
    return mask;
  }

  it("erases a disc in mm across thick slices, undoes and redoes it", async () => {
    const before = await page.textContent("#volume");
    expect(grid.size[2]).toBe(4.5);
    const cross = await readCross();
    await page.click("#tools [data-tool=eraser]");
    await page.fill("#radius", "12");
    await page.focus("#pane1"); // coronal: a disc of 24 mm goes through 5 slices
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    const wanted = draw(cross, cross, 12, 0, 1);
    expect(countDifferent(await save(), wanted)).toBe(0);
    await keep(page, "[data-output=record]", find("mended.json"));
    const { volume_ml, corrected } = JSON.parse(readFileSync(find("mended.json"), "utf-8"));
    expect(`${volume_ml.toFixed(0)} ml`).toBe(before);
    expect(corrected.file).toBe("thick_mask.nii.gz");
    expect(corrected.volume_ml).toBeLessThan(volume_ml);
    await page.keyboard.press("z");
    expect(countDifferent(await save(), automatic)).toBe(0);
    await keep(page, "[data-output=record]", find("mended.json"));
    expect(JSON.parse(readFileSync(find("mended.json"), "utf-8")).corrected).toBeUndefined();
    expect(await page.isDisabled("#undo")).toBe(true);
    await page.keyboard.press("y");
    expect(countDifferent(await save(), wanted)).toBe(0);
    await page.click("#undo");
    expect(await page.textContent("#volume")).toBe(before);
  });

  it("draws a stroke by keyboard, and a ball through the slices", async () => {
    const cross = await readCross();
    await page.click("#tools [data-tool=eraser]");
    await page.fill("#radius", "4");
    await page.focus("#pane2");
    await page.keyboard.press("Enter");
    for (let k = 0; k < 5; k++) await page.keyboard.press("Shift+ArrowRight");
    await page.keyboard.press("Enter");
    const end = [cross[0]! + 5, cross[1]!, cross[2]!];
    expect(await readCross()).toEqual(end);
    expect(countDifferent(await save(), draw(cross, end, 4, 0, 2))).toBe(0);
    await page.keyboard.press("z");
    await page.keyboard.press("a");
    await page.fill("#radius", "10");
    await page.focus("#pane2");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    expect(countDifferent(await save(), draw(end, end, 10, 0, -1))).toBe(0);
    await page.keyboard.press("z");
    await page.uncheck("#ball");
  });

  it("draws where the mouse is, and keeps the largest piece", async () => {
    await page.click("#tools [data-tool=brush]");
    await page.keyboard.press("2");
    const box = (await page.locator("#pane2").boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + 30); // in front of the head
    const place = await readCross(); // of the mouse now
    await page.mouse.down();
    await page.mouse.up();
    const drawn = await save();
    const gained = [...drawn.keys()].filter((i) => drawn[i] !== automatic[i]);
    expect(gained.length).toBeGreaterThan(50);
    const [nx, ny] = grid.shape;
    for (const i of gained) {
      const voxel = [i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny))];
      expect(voxel[2]).toBe(place[2]);
      expect(Math.hypot((voxel[0]! - place[0]!) * grid.size[0], (voxel[1]! - place[1]!) * grid.size[1])).toBeLessThan(10 + 1.5);
    }
    await page.click("#largest");
    expect(countDifferent(await save(), automatic)).toBe(0);
    await page.click("#undo");
    expect(countDifferent(await save(), drawn)).toBe(0);
    await page.click("#undo");
    await page.keyboard.press("1");
  });

  it("fills holes and smooths the surface", async () => {
    await page.click("#tools [data-tool=eraser]");
    await page.fill("#radius", "3");
    await page.focus("#pane2");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    expect(countDifferent(await save(), automatic)).toBeGreaterThan(5);
    await page.click("#holes");
    expect(countDifferent(await save(), automatic)).toBe(0);
    await page.click("#smooth");
    const smooth = await save();
    const changed = countDifferent(smooth, automatic);
    expect(changed).toBeGreaterThan(0);
    expect(changed).toBeLessThan(0.1 * automatic.filter(Boolean).length);
  });

  it("keeps the drawing while another scan is looked at", async () => {
    const smooth = await save();
    await strip(page, find("words.nii.gz"));
    await page.click("[data-entry='0']");
    await page.waitForFunction(() => document.body.dataset.state === "ready", null, { timeout: 180_000 });
    expect(countDifferent(await save(), smooth)).toBe(0);
  });

  it("strips all scans by the settings of one, but not one that was mended", async () => {
    const mended = await save();
    await strip(page, find("second.nii.gz"));
    await page.fill("#threshold", "0.3");
    await page.fill("#border", "2");
    await page.click("#spread");
    await page.waitForFunction(() => document.querySelector("#said")!.textContent!.includes("stays as it is"));
    expect(countDifferent(mended, automatic)).toBeGreaterThan(0);
    await page.click("[data-entry='0']");
    await page.waitForFunction(() => document.body.dataset.state === "ready" && document.querySelector("#name")!.textContent === "thick.nii.gz");
    expect(countDifferent(await save(), mended)).toBe(0);
    await strip(page, find("thick.nii.gz")); // once more: added later
    await keep(page, "[data-output=mask]", find("page_thick.nii.gz"));
    expect(dice(readMask(find("page_thick.nii.gz")), readMask(find("thick_mask.nii.gz")))).toBeGreaterThan(0.999);
  });

  it("shows the brain in 3D", async () => {
    await page.click("#views [data-view='3d']");
    await page.waitForFunction(() => document.querySelector<HTMLElement>("#brain")!.style.visibility === "visible", null, { timeout: 60_000 });
    const findShown = () => page.locator("#picture canvas").evaluateAll((all) => all.filter((one) => one.checkVisibility()).map(({ id }) => id));
    expect(await findShown()).toEqual(["brain"]);
    await page.keyboard.press("2");
    expect(await findShown()).toEqual(["pane2"]);
    expect(browser.outside).toEqual([]);
    expect(browser.faults).toEqual([]);
  });
});
