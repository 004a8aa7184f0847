/** The worker: does the work of one scan at a time, so that the page stays alive. */

import webgpuMjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import webgpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import { ChoiceError, DeskullError } from "../errors";
import type { Field } from "../image/field";
import { type Fingerprint, makeFingerprint } from "../image/fingerprint";
import { openImage } from "../image/formats";
import { fromCanonicalField, toCanonicalField } from "../image/grid";
import { ByteReader, gzip } from "../image/streams";
import { makeVolume, type Volume } from "../image/volume";
import { configure } from "../network/engine";
import { loadWebgpu } from "../network/webgpu";
import { loadWeights, type Weights } from "../network/weights";
import { encodePicture } from "../picture/mosaic";
import type { Result } from "../result";
import { Stripper } from "../stripper";
import { makeShown } from "./display";
import type { Answer, Drawn, Failure, Judged, Task, Tasks } from "./protocol";

const absolute = (url: string) => new URL(url, import.meta.url).href;

let stripper: Stripper | null = null;
let volume: Volume | null = null;
let fingerprint: Fingerprint | null = null;
let result: Result | null = null;

type Work = { [K in Task]: (give: Tasks[K]["give"], id: number) => Promise<Tasks[K]["get"]> };

const WORK: Work = {
  async load({ base, threads, webgpu }) {
    configure({ mjs: absolute(mjs), wasm: absolute(wasm) }, threads);
    const weights = await loadWeights("default", async (name, hash) => {
      const response = await fetch(new URL(`weights/${name}?${hash.slice(0, 12)}`, base));
      if (!response.ok) throw new DeskullError(`weights/${name}: the server answers ${response.status}. Host the page anew.`);
      return new Uint8Array(await response.arrayBuffer());
    });
    const found = webgpu ? await tryWebgpu(weights, threads) : "";
    stripper = typeof found === "string" ? await Stripper.load(weights, threads) : found;
    return { refusal: typeof found === "string" ? found : "" };
  },

  async open({ item, files, notes, frame }) {
    volume = result = null; // of two large scans only one fits
    const source = await openImage(files, frame);
    source.notes.push(...notes);
    volume = makeVolume(source, item.name);
    fingerprint = await makeFingerprint(item.isDicom ? (item.folder ?? item.files) : source.files);
    return makeShown(volume);
  },

  async strip({ settings }, id) {
    result = await stripper!.strip(volume!, settings, (step) => answer({ id, kind: "step", step }));
    return { mask: toPage(result.brain.mask), judged: describeQuality(result) };
  },

  async remake({ settings }) {
    result!.remake(settings);
    return { mask: toPage(result!.brain.mask) };
  },

  async judge({ settings }) {
    result!.remake(settings);
    return { judged: describeQuality(result!) };
  },

  async save({ output, drawn, settings, maskName }) {
    result!.remake(settings); // undo may have gone back to others
    const mask = fromPage(drawn);
    switch (output) {
      case "mask":
      case "brain":
      case "probability":
        return { blob: await gzip(result!.encode(output, mask.values)) };
      case "picture":
        return { blob: await encodePicture(volume!.data, mask, volume!.grid, result!.describe(mask.values)) };
      case "record": {
        const record = result!.makeRecord(__VERSION__, fingerprint!, drawn && { values: mask.values, name: maskName });
        return { blob: new Blob([`${JSON.stringify(record, null, 1)}\n`], { type: "application/json" }) };
      }
    }
  },

  async restore({ mask }) {
    const whole = await (await ByteReader.open(mask, "mask")).rest();
    const values = whole.slice(whole.length - volume!.grid.voxels);
    return { mask: toPage(result!.brain.mask.like(values)) };
  },
};

/** A stripper on the graphics card, or why there is none. */
async function tryWebgpu(weights: Weights, threads: number): Promise<Stripper | string> {
  try {
    const files = { mjs: absolute(webgpuMjs), wasm: absolute(webgpuWasm) };
    return await Stripper.load(weights, threads, await loadWebgpu(files));
  } catch (error) {
    return `The graphics card is not used: ${(error as Error).message} The processor does the work.`;
  }
}

function describeQuality(of: Result): Judged {
  const { score, flags } = of.judge();
  return { score, flags };
}

/** The page draws on axes nearest to RAS+, the first one running fastest. */
function toPage(mask: Field<Uint8Array>): Uint8Array {
  return toCanonicalField(mask, volume!.grid).copy().values;
}

function fromPage(drawn: Drawn): Field<Uint8Array> {
  if (!drawn) return result!.brain.mask;
  const canonical = result!.brain.mask.like(drawn.map((value) => (value ? 1 : 0)), volume!.grid.canonical().shape);
  return fromCanonicalField(canonical, volume!.grid).copy();
}

function answer(message: Answer, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

function explain(error: unknown): Failure {
  if (error instanceof ChoiceError) return { message: error.message, choice: { kind: error.kind, options: error.options } };
  if (error instanceof DeskullError) return { message: error.message };
  const reason = error instanceof Error ? error.message : String(error);
  if (/memory|allocat|bad_alloc|Invalid (typed )?array( buffer)? length/i.test(reason)) {
    return { message: "not enough memory in this browser. Close other tabs, or use the command line." };
  }
  return { message: `an internal error (${reason}). Please report it.` };
}

self.onmessage = async ({ data }: MessageEvent<{ id: number; task: Task; give: never }>) => {
  const { id, task, give } = data;
  try {
    const value = await WORK[task](give, id);
    const arrays = Object.values(value as object).filter((part) => part instanceof Uint8Array || part instanceof ArrayBuffer);
    answer({ id, kind: "done", value }, arrays.map((part) => (part instanceof ArrayBuffer ? part : (part.buffer as ArrayBuffer))));
  } catch (error) {
    answer({ id, kind: "failed", failure: explain(error) });
  }
};
