// What the page requests from deskull and sends to it: scans, which are fetched ahead, masks and marks.

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

/** How many scans there are, for one that cannot be shown; null if that cannot be said either. */
export const askCount = () => ask("count").then((answer) => answer.json()).catch(() => null);

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
      loading.catch(() => ready.delete(next)); // the error is shown when it is opened
      ready.set(next, loading);
    }
    const [about] = await ready.get(next)?.catch(() => [null]) ?? [null];
    if (about) voxels += about.shape.reduce((a, b) => a * b);
  }
}

/** Save a mark for the mask that is shown; the comment and the tags stay. @returns {Promise<{by: string, marked: string}>} */
export async function sendMark(number, { mask_sha256, tags, comment }, mark) {
  return (await send("marks", JSON.stringify({ scan: number, mark, mask_sha256, tags, comment }))).json();
}

/** Strip a scan now. @param {(words: string) => void} report is told how far it is, and "" at the end */
export async function stripNow(number, report) {
  const began = Date.now();
  const tell = (step) => report(`stripping: ${step || "starting"}, ${Math.round((Date.now() - began) / 1000)} s`);
  tell("");
  let watch = setInterval(async () => {
    const { step } = await ask(`progress?scan=${number}`).then((answer) => answer.json()).catch(() => ({}));
    if (watch) tell(step);
  }, 500);
  try {
    return await (await send(`strip?scan=${number}`)).json();
  } finally {
    watch = clearInterval(watch);
    report("");
  }
}
