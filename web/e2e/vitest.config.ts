import { defineConfig } from "vitest/config";

import { alias } from "../vite.config.ts";

export default defineConfig({
  resolve: { alias },
  test: {
    include: ["e2e/*.test.ts"],
    globalSetup: "e2e/setup.ts",
    fileParallelism: false, // one browser at a time
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
