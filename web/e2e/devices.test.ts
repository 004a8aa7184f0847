/** The page where there is little: a phone, no mouse, no WebGL, one thread, no headers for threads. */

import { join } from "node:path";

import type { Page } from "playwright-core";
import { afterEach, beforeAll, describe, expect, inject, it } from "vitest";

import { Browser, DIST, keep, Server, strip, waitReady } from "./browser";
import { dice, readMask } from "./compare";

const reference = inject("reference");
const find = (name: string) => join(reference, name);

describe.skipIf(!Browser.isHere)("the page", () => {
  let server: Server;
  let browser: Browser;

  beforeAll(async () => {
    server = await Server.start(DIST);
    return () => server.stop();
  });

  afterEach(async () => browser.stop());

  it("fits a phone, in the dark", async () => {
    browser = await Browser.start(server.address, { width: 390, height: 780, dark: true });
    const page = await browser.open();
    const overflows = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(await overflows()).toBe(false);
    await strip(page, find("demo_T1w.nii.gz"));
    expect(await overflows()).toBe(false);
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(22, 24, 28)");
  });

  it("works by keyboard, with one thread", async () => {
    browser = await Browser.start(server.address);
    const page = await browser.open("?threads=1");
    await page.focus("#example");
    await page.keyboard.press("Enter");
    await waitReady(page);
    expect(await page.textContent("#about")).toContain("one thread");
    const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("s")]);
    await download.saveAs(find("one_thread.nii.gz"));
    expect(dice(readMask(find("one_thread.nii.gz")), readMask(find("mask.nii.gz")))).toBeGreaterThan(0.999);
    await page.keyboard.press("b");
    expect(await page.getAttribute("#tools [data-tool=brush]", "aria-pressed")).toBe("true");
    const before = await page.textContent("#volume");
    await page.keyboard.press("e");
    await page.fill("#radius", "20");
    await page.focus("#pane2");
    await page.keyboard.press("Shift+ArrowUp");
    await page.keyboard.press("Enter"); // the eraser at the cross-hair
    await page.keyboard.press("Enter");
    await page.waitForFunction((old) => document.querySelector("#volume")!.textContent !== old, before);
    await page.keyboard.press("z");
    await page.waitForFunction((old) => document.querySelector("#volume")!.textContent === old, before);
    await page.focus("#border");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelector("#border-value")!.textContent === "+0.25 mm");
  });

  /** Ask for the graphics card, and hear what is said of it. */
  async function askForWebgpu(flags: string[]): Promise<{ page: Page; said: string }> {
    browser = await Browser.start(server.address, { flags });
    const page = await browser.open();
    await strip(page, find("demo_T1w.nii.gz"));
    await page.click("#speed summary");
    await page.click("#webgpu");
    await page.waitForFunction(() => document.querySelector("#said")!.textContent !== "", null, { timeout: 250_000 });
    return { page, said: (await page.textContent("#said"))! };
  }

  it("takes the graphics card if its answer to the check is right", async () => {
    const { page, said } = await askForWebgpu(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]);
    expect(said).toBe("The graphics card passed the check; it does the next scans.");
    expect(await page.isChecked("#webgpu")).toBe(true);
    expect(browser.outside).toEqual([]);
  });

  it("keeps to the processor where there is no WebGPU, and to the scan", async () => {
    const { page, said } = await askForWebgpu([]);
    expect(said).toMatch(/^The graphics card is not used: .* The processor does the work\.$/);
    expect(await page.isChecked("#webgpu")).toBe(false);
    await keep(page, "[data-output=mask]", find("refused.nii.gz"));
    expect(dice(readMask(find("refused.nii.gz")), readMask(find("mask.nii.gz")))).toBeGreaterThan(0.999);
  });

  it("shows the slices where there is no WebGL", async () => {
    browser = await Browser.start(server.address);
    await browser.context.addInitScript(() => {
      const { getContext } = HTMLCanvasElement.prototype;
      HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: []) {
        return kind.startsWith("webgl") ? null : getContext.call(this, kind as "2d", ...rest);
      } as typeof getContext;
    });
    const page = await browser.open();
    await strip(page, find("demo_T1w.nii.gz"));
    await keep(page, "[data-output=mask]", find("flat.nii.gz"));
    expect(dice(readMask(find("flat.nii.gz")), readMask(find("mask.nii.gz")))).toBeGreaterThan(0.999);
    await page.click("#views [data-view='3d']");
    expect(await page.textContent("#said")).toContain("cannot show the brain in 3D");
    expect(browser.faults).toEqual([]);
  });
});
