/** The scans of a session, in their order: what is to be done, what was done, and what came of it. */

import { findStem, type Item } from "../image/names";
import { DEFAULTS, type Settings } from "../settings";
import type { Judged, Output } from "../worker/protocol";

export type State = "waiting" | "working" | "done" | "failed" | "stopped";

/** One scan. */
export interface Entry {
  id: number;
  item: Item;
  /** Start of the names of its files, which no other scan's have. */
  stem: string;
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
    return items.map((item) => this.append(item));
  }

  private append(item: Item): Entry {
    const entry: Entry = {
      id: this.entries.length,
      item,
      stem: this.makeStem(findStem(item.name)),
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
    };
    this.entries.push(entry);
    return entry;
  }

  /** A stem that no scan has yet: two may differ by folder or suffix only. */
  private makeStem(wanted: string): string {
    const isFree = (stem: string) => !this.entries.some((entry) => canMeet(entry.stem, stem));
    let stem = wanted;
    for (let number = 2; !isFree(stem); number++) stem = `${wanted}_${number}`;
    return stem;
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

  /** Scans with a mask that is not empty, whose files are made or can be: also of one that was to be stripped once more, and stopped. */
  get filled(): Entry[] {
    return this.entries.filter(({ state, ml, outputs }) => ml > 0 && (state === "done" || outputs.mask));
  }
}

/** How the names of a scan's files begin. */
export function nameFiles({ stem, frame }: Entry): string {
  return frame === null ? stem : `${stem}_frame-${frame}`;
}

/** Whether files of two scans may get one name, of some frame, on a disk that ignores case. */
function canMeet(one: string, other: string): boolean {
  const [a, b] = [one.toLowerCase(), other.toLowerCase()];
  const dropFrame = (stem: string) => stem.replace(/_frame-\d+$/, "");
  return a === b || dropFrame(a) === b || a === dropFrame(b);
}

/** What the list says of a scan. */
export function describeState(entry: Entry): string {
  if (entry.state === "done") return `${entry.ml.toFixed(0)} ml, score ${entry.judged!.score}`;
  return { waiting: "waiting", working: "working …", failed: "failed", stopped: "stopped" }[entry.state];
}
