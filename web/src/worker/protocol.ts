/** What the page and its worker say to each other. */

import type { Triple } from "../image/affine";
import type { Item } from "../image/names";
import type { Flag } from "../measure/quality";
import type { Settings } from "../settings";
import type { Step } from "../stripper";

/** A scan as the page shows it: a NIfTI file of 16 bits, axes nearest to RAS+. */
export interface Shown {
  name: string;
  shape: Triple;
  voxelSize: Triple;
  voxelMl: number;
  /** What a person should know of how it was read. */
  warnings: string[];
  file: ArrayBuffer;
}

/** What was found, beside the mask. */
export interface Judged {
  score: number;
  flags: Flag[];
}

export type Output = "mask" | "brain" | "probability" | "picture" | "record";

/** A mask that a hand has mended; null takes the one that the network drew. Axes nearest to RAS+. */
export type Drawn = Uint8Array | null;

/** What the worker does: arguments and answers. */
export interface Tasks {
  /** Answers why the graphics card is not used although it was asked for; else with no words. */
  load: { give: { base: string; threads: number; webgpu: boolean }; get: { refusal: string } };
  /** `files` are what is to be read of the scan: converted where it is DICOM, of which the notes tell. */
  open: { give: { item: Item; files: File[]; notes: string[]; frame: number | null }; get: Shown };
  strip: { give: { settings: Settings }; get: { mask: Uint8Array; judged: Judged } };
  remake: { give: { settings: Settings }; get: { mask: Uint8Array } };
  judge: { give: { settings: Settings }; get: { judged: Judged } };
  save: { give: { output: Output; drawn: Drawn; settings: Settings; maskName: string }; get: { blob: Blob } };
  restore: { give: { mask: Blob }; get: { mask: Uint8Array } };
}

export type Task = keyof Tasks;

export interface Failure {
  message: string;
  choice?: { kind: "frame" | "series"; options: string[] };
}

export type Answer =
  | { id: number; kind: "done"; value: unknown }
  | { id: number; kind: "failed"; failure: Failure }
  | { id: number; kind: "step"; step: Step };
