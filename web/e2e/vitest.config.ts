import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/*.test.ts"],
    globalSetup: "e2e/setup.ts",
    fileParallelism: false, // one browser at a time
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
