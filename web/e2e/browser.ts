/** A browser and a server for the built page, as a person has them: `python -m http.server`, and Chromium. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type BrowserContext, chromium, type Page } from "playwright-core";

export const DIST = join(import.meta.dirname, "../dist");
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--enable-unsafe-swiftshader",
  "--use-gl=angle",
  "--use-angle=swiftshader",
];

/** A plain static server. */
export class Server {
  private constructor(
    private readonly process: ChildProcess,
    readonly address: string,
  ) {}

  static async start(folder: string): Promise<Server> {
    const port = await new Promise<number>((resolve) => {
      const probe = createServer().listen(0, "127.0.0.1", () => {
        const { port } = probe.address() as { port: number };
        probe.close(() => resolve(port));
      });
    });
    const words = ["-m", "http.server", String(port), "--bind", "127.0.0.1", "--directory", folder];
    const process = spawn(globalThis.process.env.PYTHON ?? "python3", words, { stdio: "ignore" });
    const address = `http://127.0.0.1:${port}/`;
    for (let tries = 0; tries < 100; tries++) {
      const isUp = await fetch(address).then(({ ok }) => ok, () => false);
      if (isUp) return new Server(process, address);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error("no server");
  }

  stop(): void {
    this.process.kill();
  }
}

/** A browser with an empty profile; what the page asks of anyone else is noted. */
export class Browser {
  readonly outside: string[] = [];
  readonly faults: string[] = [];

  private constructor(
    readonly context: BrowserContext,
    private readonly profile: string,
    private readonly address: string,
  ) {
    context.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(address) && !/^(data|blob):/.test(url)) this.outside.push(url);
    });
    context.on("weberror", (error) => this.faults.push(String(error.error())));
    context.on("console", (message) => {
      if (message.type() === "error") this.faults.push(message.text());
    });
  }

  static async start(address: string, options: { width?: number; height?: number; dark?: boolean; flags?: string[] } = {}): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "deskull-browser-"));
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: BROWSERS.find(existsSync),
      args: [...FLAGS, ...(options.flags ?? [])],
      viewport: { width: options.width ?? 1280, height: options.height ?? 860 },
      colorScheme: options.dark ? "dark" : "light",
      acceptDownloads: true,
    });
    return new Browser(context, profile, address);
  }

  static get isHere(): boolean {
    return BROWSERS.some(existsSync);
  }

  /** Open the page, and wait until it has settled: with a service worker it is loaded twice. */
  async open(query = ""): Promise<Page> {
    const page = this.context.pages()[0] ?? (await this.context.newPage());
    await page.goto(this.address + query);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null, null, { timeout: 60_000 }).catch(async (error) => {
      const { quota = 0, usage = 0 } = await page.evaluate(() => navigator.storage.estimate());
      throw new Error(`no service worker; the browser keeps ${usage} bytes here, ${quota} at most: is the disk full?`, { cause: error });
    });
    await page.waitForFunction(() => crossOriginIsolated, null, { timeout: 60_000 });
    await page.waitForLoadState("load");
    return page;
  }

  async stop(): Promise<void> {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}

/** Give the page files, and wait until the last of them is done. */
export async function strip(page: Page, files: string | string[], patience = 180_000): Promise<void> {
  await page.setInputFiles("#files", files);
  await waitReady(page, patience);
}

export async function waitReady(page: Page, patience = 180_000): Promise<void> {
  await page.waitForFunction(() => /^(ready|failed|stopped)$/.test(document.body.dataset.state ?? ""), null, { timeout: patience });
}

/** Click what downloads a file, and keep it under a path. */
export async function keep(page: Page, selector: string, path: string): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  await download.saveAs(path);
  return download.suggestedFilename();
}
