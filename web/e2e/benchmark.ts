/** `node e2e/run.mjs e2e/benchmark.ts QUERY OUT SCAN...`: strips scans in the built page, and prints a line of JSON for each. */

import { basename, join } from "node:path";

import { DIST, Server } from "./browser";
import { stripHead } from "./heads";

const [query, out, ...scans] = process.argv.slice(2) as [string, string, ...string[]];
const server = await Server.start(DIST);
try {
  for (const scan of scans) {
    const found = await stripHead(server, scan, join(out, `${basename(scan)}.mask.nii.gz`), query).catch((error: Error) => ({
      error: error.message,
    }));
    console.log(JSON.stringify({ scan, ...found }));
  }
} finally {
  server.stop();
}
