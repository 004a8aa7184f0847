/** Puts the Python package's own files into the page: the weights, the example head, its version. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Plugin } from "vite";

const ROOT = join(import.meta.dirname, "../../src/deskull");

/** Where each file goes in the page, and where it lies in the package. */
export const FILES: Record<string, string> = {
  "weights/card.json": "weights/default/card.json",
  "weights/segment.onnx": "weights/default/segment.onnx",
  "weights/locate.onnx": "weights/default/locate.onnx",
  "data/demo_T1w.nii.gz": "data/demo_T1w.nii.gz",
};

export function readVersion(): string {
  return /__version__ = "([^"]+)"/.exec(readFileSync(join(ROOT, "__init__.py"), "utf-8"))![1]!;
}

export function packageFiles(): Plugin {
  const find = (name: string) => join(ROOT, FILES[name]!);
  return {
    name: "deskull-package-files",
    generateBundle() {
      for (const fileName of Object.keys(FILES)) {
        if (existsSync(find(fileName))) this.emitFile({ type: "asset", fileName, source: readFileSync(find(fileName)) });
      }
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const name = (request.url ?? "").split("?")[0]!.slice(1);
        if (name in FILES) response.end(readFileSync(find(name)));
        else next();
      });
    },
  };
}
