/** What a session does when it is told to stop, and what its zip holds. */

import { unzipSync } from "fflate";
import { beforeEach, expect, it, vi } from "vitest";

import { Session } from "../src/page/session";
import type { Owner } from "../src/page/viewer";
import { Cancelled, type Client } from "../src/worker/client";

const converter = vi.hoisted(() => ({ isRunning: false, terminate: vi.fn() }));
const offer = vi.hoisted(() => vi.fn());

vi.mock("@review/viewer/files.js", () => ({ offer }));
// the true one needs a page
vi.mock("../src/page/viewer", () => ({
  Viewer: class {
    mask: Uint8Array = new Uint8Array(8);
    constructor(readonly owner: Owner) {}
    blank(): void {}
    show(): void {}
    setMask(mask: Uint8Array): void {
      this.mask = mask;
    }
    countMl(): number {
      return this.mask.filter(Boolean).length;
    }
  },
}));
vi.mock("@niivue/dcm2niix", () => ({
  Dcm2niix: class {
    worker = converter;
    init = () => Promise.resolve(true);
    input = () => this;
    b = () => this;
    ba = () => this;
    z = () => this;
    f = () => this;
    run = () => {
      converter.isRunning = true;
      return new Promise(() => undefined); // it never comes to an end
    };
  },
}));

const nothing = () => undefined;
const said = vi.fn();

function makeSession(ask: Client["ask"], cancel = vi.fn()): Session {
  const client = { load: async () => ({ refusal: "" }), cancel, ask, isAlive: true } as unknown as Client;
  return new Session(client, { onBusy: nothing, onChange: nothing, onSaid: said, onUnseen: nothing, onChoice: async () => null });
}

beforeEach(() => void vi.clearAllMocks());

it("stops while DICOM is converted, and goes on with nothing of it", async () => {
  const ask = vi.fn();
  const session = makeSession(ask);
  const working = session.add([new File(["slice"], "IM0001"), new File(["slice"], "IM0002")]);
  await vi.waitUntil(() => converter.isRunning);
  session.cancel();
  await working;
  expect(session.queue.entries.map(({ state, message }) => [state, message])).toEqual([["stopped", "stopped"]]);
  expect(converter.terminate).toHaveBeenCalled();
  expect(ask).not.toHaveBeenCalled();
});

/** A worker that strips at once; `waits` holds back the answers to one task. */
class FakeWorker {
  waits: { task: string; until: Promise<void> } | null = null;

  ask = (async (task: string, give: { output?: string }) => {
    if (task === this.waits?.task) await this.waits.until;
    if (task === "open") return { warnings: [] };
    if (task === "save") return { blob: new Blob([give.output!]) };
    return { mask: new Uint8Array(8).fill(1), judged: { score: 100, flags: [] } };
  }) as unknown as Client["ask"];
}

const heads = (...names: string[]) => names.map((name) => new File(["head"], name));

async function listZip(): Promise<string[]> {
  const blob = offer.mock.calls.at(-1)![0] as Blob;
  return Object.keys(unzipSync(new Uint8Array(await blob.arrayBuffer()))).sort();
}

const nameAll = (stem: string) => ["_brain.nii.gz", "_mask.nii.gz", "_picture.png", "_record.json"].map((ending) => stem + ending);

it("lets nobody draw or stop while the zip is packed", async () => {
  const worker = new FakeWorker();
  const cancel = vi.fn();
  const session = makeSession(worker.ask, cancel);
  await session.add(heads("a.nii", "b.nii"));
  expect(session.isReady).toBe(true);
  let goOn = nothing as () => void;
  worker.waits = { task: "save", until: new Promise((resolve) => (goOn = resolve)) };
  const saving = session.saveAll();
  await vi.waitUntil(() => !session.isReady);
  session.cancel();
  expect(cancel).not.toHaveBeenCalled();
  goOn();
  await saving;
  expect(await listZip()).toEqual([...nameAll("a"), ...nameAll("b")]);
  await vi.waitUntil(() => session.isReady);
});

it("says why no zip could be packed, and goes on", async () => {
  const worker = new FakeWorker();
  const session = makeSession(worker.ask);
  await session.add(heads("a.nii", "b.nii"));
  worker.waits = { task: "save", until: Promise.reject(new Error("no memory")) };
  await session.saveAll();
  expect(said).toHaveBeenLastCalledWith("Not saved: no memory", "bad");
  await vi.waitUntil(() => session.isReady);
});

it("packs no empty mask, and names the scan that has it", async () => {
  const session = makeSession(new FakeWorker().ask);
  await session.add(heads("a.nii", "b.nii"));
  session.viewer.mask.fill(0);
  (session.viewer as unknown as { owner: Owner }).owner.onDrawing();
  expect(session.queue.filled.map(({ stem }) => stem)).toEqual(["a"]);
  await session.saveAll();
  expect(await listZip()).toEqual(nameAll("a"));
  expect(said).toHaveBeenLastCalledWith("Downloaded 4 files as deskull.zip. Left out: b.nii (its mask is empty).", "");
});

it("packs a scan that was done, and stopped when it was to be shown again", async () => {
  const worker = new FakeWorker();
  let stop: (error: Error) => void = nothing;
  const session = makeSession(worker.ask, vi.fn(() => stop(new Cancelled("stopped"))));
  await session.add(heads("a.nii", "b.nii"));
  const [a] = session.queue.entries;
  worker.waits = { task: "open", until: new Promise((_, reject) => (stop = reject)) };
  const working = session.choose(a!);
  await vi.waitUntil(() => a!.state === "working");
  session.cancel();
  await working;
  expect([a!.state, session.queue.filled.length]).toEqual(["stopped", 2]);
  await session.saveAll();
  expect(await listZip()).toEqual([...nameAll("a"), ...nameAll("b")]);
  expect(said).toHaveBeenLastCalledWith("Downloaded 8 files as deskull.zip.", "good");
});
