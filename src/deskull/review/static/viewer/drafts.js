// Drawings that are not saved: deskull keeps the newest of each scan while it runs, so that a
// closed tab loses nothing.

import { ask, send } from "./server.js";

const PAUSE = 1500; // ms without a change before a drawing is sent
let timer = 0;

export function keepDraft(number, mask, version) {
  clearTimeout(timer);
  const copy = () => send(`draft?scan=${number}&version=${encodeURIComponent(version)}`, mask.slice()).catch(() => {}); // said when it is saved
  timer = setTimeout(copy, PAUSE);
}

/** What was drawn is saved now. */
export function forgetDraft() {
  clearTimeout(timer);
}

export async function readDraft(number) {
  const answer = await ask(`draft?scan=${number}`);
  return { version: answer.headers.get("Deskull-Version") ?? "", mask: new Uint8Array(await answer.arrayBuffer()) };
}
