import { readdirSync } from "node:fs";
import { join } from "node:path";

import { defaultClientConditions } from "vite";
import { defineConfig } from "vitest/config";

import { licences } from "./plugins/licences.ts";
import { offline } from "./plugins/offline.ts";
import { packageFiles, readVersion } from "./plugins/package-files.ts";

const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** The modules that the page has in common with `deskull view`. */
export const alias = { "@review": join(import.meta.dirname, "../src/deskull/review/static") };

export default defineConfig({
  base: "./", // so that the page works in any folder of any server
  define: { __VERSION__: JSON.stringify(readVersion()) },
  resolve: {
    alias,
    conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions],
  },
  plugins: [packageFiles(), licences(), offline(readdirSync(join(import.meta.dirname, "public")))],
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web", "@niivue/dcm2niix"] },
  server: { headers: ISOLATED, fs: { allow: [".."] } },
  build: {
    target: "es2022",
    chunkSizeWarningLimit: 4000,
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { main: "index.html", "service-worker": "src/service-worker.ts" },
      output: { entryFileNames: (chunk) => (chunk.name === "service-worker" ? "[name].js" : "assets/[name]-[hash].js") },
    },
  },
  test: { include: ["tests/*.test.ts"], globalSetup: "tests/setup.ts", testTimeout: 30_000 },
});
