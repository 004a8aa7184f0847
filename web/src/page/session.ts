/**
 * What the page does, one scan after the other: convert, open, strip, show, remake, save.
 *
 * It knows the worker and the viewer, and tells whoever shows the page what has changed.
 */

import { offer } from "@review/viewer/files.js";

import { convertDicom, readSeries } from "../image/dicom";
import { DeskullError, ChoiceError } from "../errors";
import { groupFiles } from "../image/names";
import { DEFAULTS, type Settings } from "../settings";
import { STEPS, type Step } from "../stripper";
import { Cancelled, Client, WorkError } from "../worker/client";
import type { Failure, Output } from "../worker/protocol";
import { KEPT, makeZip, SUFFIXES } from "./downloads";
import { describeState, type Entry, nameFiles, Queue } from "./queue";
import { type Owner, Viewer } from "./viewer";

/** What whoever shows the page is told. */
export interface Observer {
  /** Work has begun or gone on: words, and how much of it is done; null where nothing is. */
  onBusy: (words: string | null, share?: number) => void;
  /** A scan, its mask or the list has changed. */
  onChange: () => void;
  onSaid: (words: string, kind: "" | "good" | "bad") => void;
  /** A choice is open; the answer is one of the options, or null. */
  onChoice: (message: string, kind: "frame" | "series", options: string[]) => Promise<string | null>;
  onUnseen: (words: string) => void;
}

const STAGES = ["reading the scan", ...Object.values(STEPS)];

export class Session {
  readonly queue = new Queue();
  current: Entry | null = null;
  readonly viewer: Viewer;
  private isWorking = false;
  private isKeeping = false;
  private wish: Settings | null = null;
  /** Stops what does not go through the worker. */
  private stopping = new AbortController();
  /** Settled unless the mask is being made anew: what is saved waits for it. */
  private remaking: Promise<void> | null = null;

  constructor(
    private readonly client: Client,
    private readonly observer: Observer,
  ) {
    const owner: Owner = {
      isReady: () => this.isReady,
      readSettings: () => this.current?.settings ?? DEFAULTS,
      onDrawing: () => this.changed(true),
      onTravel: (settings) => this.noteTravel(settings),
      onSaid: (words, kind) => this.observer.onSaid(words, kind),
    };
    this.viewer = new Viewer(owner);
    client.onDeath = (error) => this.noteDeath(error);
  }

  /** Whether the current scan has a mask to look at and to save. */
  get isReady(): boolean {
    return this.current?.state === "done" && !this.isWorking;
  }

  /** Whether scans are worked on, or their files packed. */
  get isBusy(): boolean {
    return this.isWorking;
  }

  /** Take files as scans, and begin with the work. */
  async add(files: readonly File[]): Promise<void> {
    const items = groupFiles(files);
    if (!items.length) {
      const what = files.length === 1 ? files[0]!.name : `${files.length} files`;
      throw new DeskullError(`${what}: no scan in it; expected NIfTI, MGH/MGZ, NRRD, MetaImage or DICOM.`);
    }
    this.queue.add(items);
    this.observer.onChange();
    await this.work();
  }

  /** Have the graphics card run the networks from now on, or the processor; whether the card does. */
  async useWebgpu(isWanted: boolean): Promise<boolean> {
    if (this.isWorking) return !isWanted;
    let isTaken = false;
    await this.hold(isWanted ? "checking the graphics card …" : "loading the networks …", "", async () => {
      const { refusal } = await this.client.useWebgpu(isWanted);
      const taken = isWanted ? "The graphics card passed the check; it does the next scans." : "";
      this.observer.onSaid(refusal || taken, refusal ? "bad" : "good");
      isTaken = isWanted && !refusal;
    });
    return isTaken;
  }

  /** Act while the current scan can be neither changed nor stopped; then go on with scans that were added meanwhile. */
  private async hold(words: string, failed: string, act: () => Promise<void>): Promise<void> {
    this.isWorking = this.isKeeping = true;
    this.observer.onChange();
    this.observer.onBusy(words);
    try {
      await act();
    } catch (error) {
      if (!this.client.isAlive && this.current?.state === "done") this.lose(this.current, error as Error);
      this.observer.onSaid(failed + (error as Error).message, "bad");
    } finally {
      this.isWorking = this.isKeeping = false;
    }
    void this.work();
  }

  /** Show a scan of the list, after what is being done. */
  async choose(entry: Entry): Promise<void> {
    if (entry === this.current && entry.state === "done") return;
    this.queue.want(entry);
    await this.work();
  }

  /** Stop what is done and what waits; files of a scan that is done are still made. */
  cancel(): void {
    for (const entry of this.queue.entries) if (entry.state === "waiting") entry.state = "stopped";
    if (this.isKeeping) return;
    this.stopping.abort(new Cancelled("stopped"));
    this.client.cancel();
  }

  private async work(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    this.observer.onChange();
    try {
      for (let entry = this.queue.takeNext(); entry; entry = this.queue.takeNext()) {
        await this.keep().catch((error: Error) => this.lose(this.current!, error));
        if (entry.state !== "stopped") await this.attempt(entry);
      }
    } finally {
      this.isWorking = false;
      this.observer.onBusy(null);
      this.observer.onChange();
    }
  }

  /** Make the files of the current scan before the next takes its place. */
  private async keep(): Promise<void> {
    if (this.current?.state !== "done") return;
    this.observer.onBusy(`keeping the files of ${this.current.item.name} …`);
    this.isKeeping = true;
    try {
      await this.makeFiles();
    } finally {
      this.isKeeping = false;
    }
  }

  /** Make those files of the current scan that are not there yet; its mask must not change meanwhile. */
  private async makeFiles(): Promise<void> {
    const entry = this.current;
    if (entry?.state !== "done") return;
    await this.remaking;
    for (const output of KEPT) entry.outputs[output] ??= await this.make(output);
  }

  private async attempt(entry: Entry): Promise<void> {
    this.current = entry;
    entry.state = "working";
    entry.message = "";
    entry.warnings = [];
    this.viewer.blank();
    this.observer.onUnseen("");
    this.observer.onSaid("", "");
    this.observer.onChange();
    try {
      await this.strip(entry);
      entry.state = "done";
    } catch (error) {
      const choice = findChoice(error);
      if (choice && (await this.settle(entry, choice.message, choice.choice!))) return this.attempt(entry);
      entry.state = choice || error instanceof Cancelled ? "stopped" : "failed";
      entry.message = choice ? "left out" : (error as Error).message;
      this.viewer.blank();
      this.observer.onUnseen(entry.message);
      this.observer.onSaid(entry.message, entry.state === "failed" ? "bad" : "");
    }
    this.observer.onChange();
  }

  private async settle(entry: Entry, message: string, { kind, options }: NonNullable<Failure["choice"]>): Promise<boolean> {
    this.observer.onBusy(null);
    const answer = await this.observer.onChoice(message, kind, options);
    if (answer === null) return false;
    if (kind === "frame") entry.frame = Number(answer);
    else entry.series = readSeries(answer);
    return true;
  }

  private async strip(entry: Entry): Promise<void> {
    const { item } = entry;
    const say = (words: string, at: number) => this.observer.onBusy(`${words} …`, at / STAGES.length);
    say(item.isDicom ? "converting DICOM" : "loading the networks", 0);
    const { signal } = (this.stopping = new AbortController());
    const reading = item.isDicom ? convertDicom(item.files, entry.series, item.name, signal) : { files: item.files, notes: [] };
    const [{ files, notes }, { refusal }] = await Promise.all([reading, this.client.load()]);
    say(STAGES[0]!, 0);
    const shown = await this.client.ask("open", { item, files, notes, frame: entry.frame });
    entry.warnings = [...shown.warnings, refusal].filter(Boolean);
    this.observer.onChange();
    const onStep = (step: Step) => say(STEPS[step], 1 + Object.keys(STEPS).indexOf(step));
    const stripping = this.client.ask("strip", { settings: entry.settings }, onStep);
    this.viewer.show(shown);
    const { mask, judged } = await stripping;
    const kept = entry.isMended ? entry.outputs.mask : undefined;
    const drawn = entry.drawn ?? (kept && (await this.client.ask("restore", { mask: kept })).mask);
    entry.drawn = null;
    this.viewer.setMask(drawn ?? mask, true);
    entry.judged = judged;
    entry.ml = this.viewer.countMl();
  }

  /** Have the other scans of the list, and those added later, stripped as the current one; a mended mask stays. */
  async spread(): Promise<void> {
    await this.remaking;
    if (!this.isReady) return;
    const { settings, item } = this.current!;
    const { changed, mended } = this.queue.spread(settings, this.current!);
    const left = mended.map((entry) => `${entry.item.name} was corrected by hand and stays as it is.`);
    this.observer.onChange();
    if (changed.length) await this.work();
    const done = changed.length ? `${changed.length} other ${changed.length === 1 ? "scan has" : "scans have"}` : "Scans added from now on have";
    this.observer.onSaid([`${done} the settings of ${item.name}.`, ...left].join(" "), left.length ? "" : "good");
  }

  /** Make the mask anew as the sliders say. Only the newest wish counts: a slider may move on meanwhile. */
  async remake(settings: Settings): Promise<void> {
    this.wish = settings;
    if (this.remaking || !this.isReady) return;
    this.remaking = this.follow(this.current!).finally(() => (this.remaking = null));
    await this.remaking;
  }

  private async follow(entry: Entry): Promise<void> {
    const replaced = entry.isMended;
    let words = replaced ? "The mask was made anew; undo brings your drawing back." : "";
    let kind: "" | "bad" = "";
    this.observer.onSaid("making the mask anew …", "");
    while (this.wish && entry.state === "done") {
      const now: Settings = this.wish;
      this.wish = null;
      try {
        const { mask } = await this.client.ask("remake", { settings: now });
        entry.settings = now;
        this.viewer.setMask(mask, false);
        this.changed(false);
        if (!this.wish) await this.judge(entry);
      } catch (error) {
        [words, kind] = [(error as Error).message, "bad"];
        this.observer.onChange(); // the sliders go back to the mask that is shown
      }
    }
    this.observer.onSaid(words, kind);
  }

  /** Undo and redo go through masks and sliders alike. */
  private noteTravel(settings: Settings): void {
    const entry = this.current!;
    const before = entry.settings;
    entry.settings = settings;
    this.changed(true);
    if (settings !== before) void this.judge(entry);
  }

  /** Judge the automatic mask anew, once the sliders rest. */
  private async judge(entry: Entry): Promise<void> {
    const { settings } = entry;
    try {
      const { judged } = await this.client.ask("judge", { settings });
      if (entry.settings !== settings) return; // they have moved on
      entry.judged = judged;
      this.observer.onChange();
    } catch (error) {
      this.observer.onSaid((error as Error).message, "bad");
    }
  }

  private noteDeath(error: Error): void {
    if (!this.isReady) return; // whoever waits for an answer hears of it
    this.lose(this.current!, error);
    this.observer.onUnseen(error.message);
    this.observer.onSaid(error.message, "bad");
    this.observer.onChange();
  }

  /** What the worker held of the current scan is lost; a drawing is not. */
  private lose(entry: Entry, { message }: Error): void {
    entry.state = "failed";
    entry.message = message;
    entry.drawn = entry.isMended ? this.viewer.mask.slice() : null;
  }

  private changed(isMended: boolean): void {
    const entry = this.current!;
    entry.isMended = isMended;
    entry.outputs = {};
    entry.ml = this.viewer.countMl();
    this.observer.onChange();
  }

  private async make(output: Output): Promise<Blob> {
    const entry = this.current!;
    const { settings } = entry;
    const drawn = entry.isMended ? this.viewer.mask : null;
    const maskName = this.nameFile(entry, "mask");
    return (await this.client.ask("save", { output, drawn, settings, maskName })).blob;
  }

  /** Save one file of the current scan. */
  async save(output: Output): Promise<void> {
    await this.remaking; // what the sliders say is what is saved
    if (!this.isReady) return;
    const entry = this.current!;
    if (!entry.ml && output !== "probability") {
      this.observer.onSaid(`${entry.item.name}: the mask is empty. Draw the brain first.`, "bad");
      return;
    }
    try {
      const blob = (entry.outputs[output] ??= await this.make(output));
      const name = this.nameFile(entry, output);
      offer(blob, name);
      this.observer.onSaid(`Downloaded as ${name}.`, "good");
    } catch (error) {
      this.observer.onSaid(`Not saved: ${(error as Error).message}`, "bad");
    }
  }

  /** Save the files of all scans as one zip, and say which scans have none. */
  async saveAll(): Promise<void> {
    await this.remaking;
    if (this.isWorking || !this.queue.filled.length) return;
    await this.hold("packing …", "Not saved: ", async () => {
      await this.makeFiles();
      const { filled, entries } = this.queue;
      const files = filled.flatMap((entry) =>
        KEPT.flatMap((output) => {
          const blob = entry.outputs[output];
          return blob ? [{ name: this.nameFile(entry, output), blob }] : [];
        }),
      );
      offer(await makeZip(files), "deskull.zip");
      const left = entries.filter((entry) => !filled.includes(entry)).map((entry) => `${entry.item.name} (${explainNone(entry)})`);
      const words = [`Downloaded ${files.length} files as deskull.zip.`, ...(left.length ? [`Left out: ${left.join(", ")}.`] : [])];
      this.observer.onSaid(words.join(" "), left.length ? "" : "good");
    });
  }

  private nameFile(entry: Entry, output: Output): string {
    return nameFiles(entry) + SUFFIXES[output];
  }
}

/** Why a scan has no files. */
function explainNone(entry: Entry): string {
  return entry.state === "done" ? "its mask is empty" : describeState(entry);
}

function findChoice(error: unknown): Failure | null {
  if (error instanceof ChoiceError) return { message: error.message, choice: { kind: error.kind, options: error.options } };
  return error instanceof WorkError && error.failure.choice ? error.failure : null;
}
