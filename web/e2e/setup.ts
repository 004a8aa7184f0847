/** Has the command line make what the page is compared with, once before all tests. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { TestProject } from "vitest/node";

import { DIST } from "./browser";

declare module "vitest" {
  export interface ProvidedContext {
    reference: string;
  }
}

export default function setup(project: TestProject): () => void {
  if (!existsSync(join(DIST, "index.html"))) throw new Error("no built page: run npm run build first");
  const folder = mkdtempSync(join(tmpdir(), "deskull-web-"));
  execFileSync(process.env.PYTHON ?? "python3", [join(import.meta.dirname, "reference.py"), folder], { stdio: "inherit" });
  project.provide("reference", folder);
  return () => rmSync(folder, { recursive: true });
}
