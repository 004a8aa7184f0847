/** One scan through the page in a browser of its own: its mask, its seconds and its peak of memory. */

import { readFileSync } from "node:fs";

import { Browser, keep, Server, strip } from "./browser";

export interface Measured {
  seconds: number;
  steps: Record<string, number>;
  threads: number;
  peakMb: number;
  outside: string[];
}

/** Strip a scan; `query` may ask for fewer threads. The mask is saved under `mask`. */
export async function stripHead(server: Server, scan: string, mask: string, query = ""): Promise<Measured> {
  const browser = await Browser.start(server.address);
  try {
    const page = await browser.open(query);
    await page.waitForTimeout(500); // the service worker has kept the page by now
    const began = performance.now();
    await strip(page, scan, 600_000);
    const seconds = (performance.now() - began) / 1000;
    const said = await page.textContent("#said");
    if ((await page.evaluate(() => document.body.dataset.state)) !== "ready") throw new Error(said ?? "failed");
    await keep(page, "[data-output=mask]", mask);
    await keep(page, "[data-output=record]", `${mask}.json`);
    const record = JSON.parse(readFileSync(`${mask}.json`, "utf-8")) as { seconds: Record<string, number>; threads: number };
    return { seconds, steps: record.seconds, threads: record.threads, peakMb: await measurePeak(browser), outside: browser.outside };
  } finally {
    await browser.stop();
  }
}

/** Most memory that the page's process has held, in MB, as Linux counts it. */
async function measurePeak(browser: Browser): Promise<number> {
  const session = await browser.context.browser()!.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const peaks = processInfo
    .filter(({ type }) => type === "renderer")
    .map(({ id }) => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, "utf-8"))![1]) / 1024);
  return Math.max(...peaks);
}
