// What the page requests from deskull and sends to it: scans, which are fetched ahead, masks, marks,
// and drawings that are not saved, which deskull keeps while it runs, so that a closed tab loses nothing.

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

const PAUSE = 1500; // ms without a change before a drawing is sent
let timer = 0;

export function keepDraft(number, mask, version) {
  clearTimeout(timer);
  const copy = () => send(`draft?scan=${number}&version=${encodeURIComponent(version)}`, mask.slice()).catch(() => {}); // an error is shown when it is saved
  timer = setTimeout(copy, PAUSE);
}

/** The drawing is saved now. */
export function forgetDraft() {
  clearTimeout(timer);
}

export async function readDraft(number) {
  const answer = await ask(`draft?scan=${number}`);
  return { version: answer.headers.get("Deskull-Version") ?? "", mask: new Uint8Array(await answer.arrayBuffer()) };
}
