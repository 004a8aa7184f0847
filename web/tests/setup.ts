/** Has the Python package make what the tests compare with, once before all of them. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    fixtures: string;
  }
}

export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "deskull-web-"));
  const script = join(import.meta.dirname, "fixtures.py");
  execFileSync(process.env.PYTHON ?? "python3", [script, folder], { stdio: "inherit" });
  project.provide("fixtures", folder);
  return () => rmSync(folder, { recursive: true });
}
