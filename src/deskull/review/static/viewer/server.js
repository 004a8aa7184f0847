// What the page asks of deskull, and what it holds ready: the next scans are fetched ahead.

/** Scans that are fetched ahead, while they have no more voxels than this together. */
const AHEAD = 2, MAX_VOXELS = 40_000_000;
const ready = new Map(); // number -> promise of [about, scan]

export async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw new Error("deskull does not answer. Does it still run in the terminal? Nothing here is lost.");
  });
  if (answer.ok) return answer;
  const problem = new Error((await answer.json()).error);
  problem.status = answer.status;
  throw problem;
}

export const send = (path, body) => ask(path, { method: "POST", body });

export async function askMask(number, query = "") {
  return new Uint8Array(await (await ask(`mask?scan=${number}${query}`)).arrayBuffer());
}

async function load(number) {
  const about = await (await ask(`about?scan=${number}`)).json();
  return [about, await (await ask(`scan?scan=${number}`)).arrayBuffer()];
}

/** What is known of a scan, and its NIfTI file. */
export async function open(number) {
  const [early, scan] = await (ready.get(number) ?? load(number));
  ready.delete(number);
  const about = early.fresh ? await (await ask(`about?scan=${number}`)).json() : early;
  return [about, scan];
}

/** Fetch the scans after one, and forget those before it. */
export async function fetchAhead(number, count) {
  for (const known of ready.keys()) if (known <= number || known > number + AHEAD) ready.delete(known);
  let voxels = 0;
  for (let next = number + 1; next <= Math.min(number + AHEAD, count - 1) && voxels < MAX_VOXELS; next++) {
    if (!ready.has(next)) {
      const loading = load(next).then(([about, scan]) => [{ ...about, fresh: true }, scan]);
      loading.catch(() => ready.delete(next)); // said when it is opened
      ready.set(next, loading);
    }
    const [about] = await ready.get(next)?.catch(() => [null]) ?? [null];
    if (about) voxels += about.shape.reduce((a, b) => a * b);
  }
}
