/** Files out of the page. */

import { zip } from "fflate";

import type { Output } from "../worker/protocol";

/** What each output's file name ends in, as by the command line. */
export const SUFFIXES: Record<Output, string> = {
  mask: "_mask.nii.gz",
  brain: "_brain.nii.gz",
  probability: "_probability.nii.gz",
  picture: "_picture.png",
  record: "_record.json",
};

/** What is kept of each scan for the zip: a probability is large, and wanted by few. */
export const KEPT = (Object.keys(SUFFIXES) as Output[]).filter((output) => output !== "probability");

/** One zip of files, stored as they are: images and pictures are packed already. */
export async function makeZip(files: readonly { name: string; blob: Blob }[]): Promise<Blob> {
  const entries: Record<string, Uint8Array> = {};
  for (const { name, blob } of files) entries[name] = new Uint8Array(await blob.arrayBuffer());
  return new Promise((resolve, reject) => {
    zip(entries, { level: 0 }, (error, bytes) => {
      if (error) reject(error);
      else resolve(new Blob([bytes as BlobPart], { type: "application/zip" }));
    });
  });
}
