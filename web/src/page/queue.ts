/** The scans of a session, in their order: what is to be done, what was done, and what came of it. */

import type { Item } from "../image/names";
import { DEFAULTS, type Settings } from "../settings";
import type { Judged, Output } from "../worker/protocol";

export type State = "waiting" | "working" | "done" | "failed" | "stopped";

/** One scan. */
export interface Entry {
  id: number;
  item: Item;
  state: State;
  /** What went wrong. */
  message: string;
  frame: number | null;
  series: string | null;
  settings: Settings;
  isMended: boolean;
  /** A drawing that is to be shown again; axes nearest to RAS+. */
  drawn: Uint8Array | null;
  /** What a person should know of how it was read. */
  warnings: string[];
  judged: Judged | null;
  ml: number;
  /** Files made of it; none where the mask has changed since. */
  outputs: Partial<Record<Output, Blob>>;
}

export class Queue {
  readonly entries: Entry[] = [];
  private wanted: Entry | null = null;
  private settings: Settings = DEFAULTS;

  add(items: readonly Item[]): Entry[] {
    const added = items.map((item, k): Entry => ({
      id: this.entries.length + k,
      item,
      state: "waiting",
      message: "",
      frame: null,
      series: null,
      settings: this.settings,
      isMended: false,
      drawn: null,
      warnings: [],
      judged: null,
      ml: 0,
      outputs: {},
    }));
    this.entries.push(...added);
    return added;
  }

  /** Give one scan's settings to all others, of which those done wait anew, and to those added later; a mended mask stays. */
  spread(settings: Settings, from: Entry): { changed: Entry[]; mended: Entry[] } {
    this.settings = settings;
    const { threshold, border, csf } = settings;
    const hasOther = ({ settings: own }: Entry) => own.threshold !== threshold || own.border !== border || own.csf !== csf;
    const others = this.entries.filter((entry) => entry !== from && hasOther(entry));
    const changed = others.filter(({ isMended }) => !isMended);
    for (const entry of changed) Object.assign(entry, { settings, outputs: {}, state: entry.state === "done" ? "waiting" : entry.state });
    return { changed, mended: others.filter(({ isMended }) => isMended) };
  }

  /** Ask for a scan to be the next. */
  want(entry: Entry): void {
    if (entry.state !== "done") entry.state = "waiting";
    this.wanted = entry;
  }

  /** The scan that comes next; null if nothing is left to do. */
  takeNext(): Entry | null {
    const next = this.wanted ?? this.entries.find(({ state }) => state === "waiting") ?? null;
    this.wanted = null;
    return next;
  }

  get done(): Entry[] {
    return this.entries.filter(({ state }) => state === "done");
  }

  /** A name for each scan's files that no other has, without the image's suffix. */
  nameFiles(entry: Entry, stem: string): string {
    const twins = this.entries.filter(({ item }) => item.name === entry.item.name);
    const number = twins.indexOf(entry);
    const frame = entry.frame === null ? "" : `_frame-${entry.frame}`;
    return `${stem}${frame}${number > 0 ? `_${number + 1}` : ""}`;
  }
}

/** What the list says of a scan. */
export function describeState(entry: Entry): string {
  if (entry.state === "done") return `${entry.ml.toFixed(0)} ml, score ${entry.judged!.score}`;
  return { waiting: "waiting", working: "working …", failed: "failed", stopped: "stopped" }[entry.state];
}
