/**
 * A released set of weights: a card, and networks as ONNX whose hashes it says.
 *
 * The files are the package's own; nothing is run whose SHA-256 differs.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

import { WeightsError } from "../errors";
import type { Shape } from "../image/grid";
import { WindowSettings } from "../prepare/conform";

const FORMAT = 1; // of the card; raised when older code could not read it right

export interface StageCard {
  window: { shape: Shape; voxel_size: number | "fit"; fill?: number };
  network: { outputs: string[] };
  preparation: { n4: unknown; centre: string };
}

export interface Card {
  format: number;
  files: Record<string, string>;
  stages: Record<string, StageCard>;
  likeness?: { training?: { heads: number; traits: Record<string, number[]> } };
}

/** One network and the window that it works on. */
export interface Stage {
  name: string;
  window: WindowSettings;
  outputs: string[];
  centre: string;
  onnx: Uint8Array;
}

export interface Weights {
  name: string;
  digest: string;
  card: Card;
  segment: Stage;
  locate: Stage | null;
}

/** Gets a file of the weights by its name; the hash serves caches that may hold an older one. */
export type Fetch = (name: string, hash: string) => Promise<Uint8Array>;

/** Load and verify weights. */
export async function loadWeights(name: string, fetchFile: Fetch): Promise<Weights> {
  const card = readCard(await fetchFile("card.json", ""));
  const stages = await Promise.all(Object.entries(card.stages).map(([stage, fields]) => loadStage(stage, fields, card, fetchFile)));
  const find = (wanted: string) => stages.find((stage) => stage.name === wanted) ?? null;
  const hashes = Object.values(card.files).sort().join("");
  return { name, card, digest: bytesToHex(sha256(utf8ToBytes(hashes))), segment: find("segment")!, locate: find("locate") };
}

function readCard(bytes: Uint8Array): Card {
  let card: Card;
  try {
    card = JSON.parse(new TextDecoder().decode(bytes)) as Card;
  } catch (error) {
    throw new WeightsError(`card.json: not a readable card of weights (${(error as Error).message}). Host the page anew.`);
  }
  if (card.format !== FORMAT) {
    throw new WeightsError(`card.json: card of format ${card.format}; this page reads format ${FORMAT}. Host the page anew.`);
  }
  if (!card.stages?.segment || !card.files) throw new WeightsError("card.json: an incomplete card. Host the page anew.");
  if (card.stages.segment.preparation.n4) {
    throw new WeightsError("card.json: these weights want N4 first, which the page does not have. Use the command line.");
  }
  return card;
}

async function loadStage(name: string, fields: StageCard, card: Card, fetchFile: Fetch): Promise<Stage> {
  const file = `${name}.onnx`;
  const wanted = card.files[file];
  if (!wanted) throw new WeightsError(`card.json: no hash of ${file}. Host the page anew.`);
  const onnx = await fetchFile(file, wanted);
  const found = bytesToHex(sha256(onnx));
  if (found !== wanted) {
    throw new WeightsError(
      `${file}: SHA-256 ${found.slice(0, 12)}…, expected ${wanted.slice(0, 12)}…: the file is damaged or changed. ` +
        "Reload the page; if that does not help, host it anew.",
    );
  }
  return {
    name,
    window: WindowSettings.read(fields.window),
    outputs: fields.network.outputs,
    centre: fields.preparation.centre,
    onnx,
  };
}
