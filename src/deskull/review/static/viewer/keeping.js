// Keeping what is drawn on a scan: it is saved on demand, and sent to deskull meanwhile, which has it
// as a draft while it runs, so that neither a closed tab nor another scan loses a drawing.

import { ask, askMask, send } from "./server.js";

const PAUSE = 1500; // ms without a change before a drawing is sent
const leaving = new Map(); // number -> promise: the drawing of a scan that was left is sent

/** Wait until what was drawn on a scan, when it was shown before, is sent. */
export const settle = (number) => leaving.get(number);

/** The mask of a scan to begin with, and a drawing that was not saved (null if there is none) with the version it changed. */
export async function openMask(number, { draft, mask, probability, version }, length) {
  const drawn = draft ? await readDraft(number) : null;
  const isEmpty = !mask && !probability && !version;
  return { drawn, isEmpty, mask: isEmpty ? new Uint8Array(length) : await askMask(number, version ? "&manual=1" : "") };
}

async function readDraft(number) {
  const answer = await ask(`draft?scan=${number}`);
  return { mask: new Uint8Array(await answer.arrayBuffer()), version: answer.headers.get("Deskull-Version") };
}

/** The mask of one scan, from when it is shown until it is left: what comes late finds its own scan. */
export class Kept {
  /**
   * @param {number} number    of the scan
   * @param {Uint8Array} mask  which is drawn on
   * @param {string} version   of the saved mask; empty if there is none
   * @param {History} history  of the changes to the mask
   */
  constructor(number, mask, version, history) {
    Object.assign(this, { number, mask, version, history, saved: history.step });
    Object.assign(this, { timer: 0, isSaving: false, saving: Promise.resolve(), sending: Promise.resolve() });
  }

  get isUnsaved() { return this.history.step !== this.saved; }

  /** The mask has changed: it is sent when it rests, and when it is known which version is saved. */
  note() {
    this.forget();
    if (!this.isSaving) this.timer = setTimeout(() => this.sendDraft(), PAUSE);
  }

  /** Send nothing more of it. */
  forget() {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  sendDraft() {
    this.forget();
    this.sending = send(`draft?${this.query}`, this.mask).catch(() => {}); // an error is shown when it is saved
  }

  get query() { return `scan=${this.number}&version=${encodeURIComponent(this.version)}`; }

  /** Send what is not sent yet: another scan is shown. */
  leave() {
    const finish = async () => {
      await this.saving;
      if (this.timer) this.sendDraft();
      await this.sending;
    };
    leaving.set(this.number, finish());
  }

  /** Save the mask as it is; one save after the other, since each names the version before. */
  save(over) {
    const answer = this.saving.then(() => this.saveNow(over));
    this.saving = answer.catch(() => {});
    return answer;
  }

  async saveNow(over) {
    const { step } = this.history;
    this.forget();
    this.isSaving = true;
    try {
      const answer = await (await send(`save?${this.query}${over ? "&over=1" : ""}`, this.mask)).json();
      [this.version, this.saved] = [answer.version, step];
      return answer;
    } finally {
      this.isSaving = false;
      if (this.isUnsaved) this.note();
    }
  }
}
