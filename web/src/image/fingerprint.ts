/** By what the file of a scan is known again, as records of the command line have it. */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

export interface Fingerprint {
  /** Of several files those of all together. */
  bytes: number;
  /** A browser knows the time of change in ms, not in ns. */
  modified: null;
  sha256: string;
}

/** SHA-256 over the files that a scan is made of, one after the other, without holding them. */
export async function makeFingerprint(files: readonly File[]): Promise<Fingerprint> {
  const digest = sha256.create();
  for (const file of files) {
    const reader = file.stream().getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) digest.update(part.value);
  }
  return { bytes: files.reduce((sum, { size }) => sum + size, 0), modified: null, sha256: bytesToHex(digest.digest()) };
}
