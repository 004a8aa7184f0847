/** Runs a TypeScript file: `node e2e/run.mjs FILE ARGUMENTS`, for a Node that cannot do so itself. */

import { resolve } from "node:path";

import { runnerImport } from "vite";

process.argv.splice(1, 1);
await runnerImport(resolve(process.argv[1]));
