/** How like a head is to those that the weights learned from, as their card says it. */

import type { Card } from "../network/weights";
import type { Trait, Traits } from "./traits";

const MIN_HEADS = 20; // fewer heads say too little about what is usual

/** Traits of the head and of the mask's form. */
export const CHOSEN: readonly Trait[] = [
  "core_10",
  "core_50",
  "core_90",
  "rim_50",
  "shell_10",
  "shell_50",
  "shell_90",
  "structure",
  "length_x",
  "length_y",
  "length_z",
  "skew_y",
  "skew_z",
  "compact",
];

/**
 * Find how far each trait lies beyond the 1st and 99th percentile of the training heads, in units
 * of the distance between them; null if the card does not say, or says it of too few heads.
 */
export function findUnlike(traits: Traits, card: Card): Traits | null {
  const training = card.likeness?.training;
  if (!training || training.heads < MIN_HEADS) return null;
  const found: Traits = {};
  for (const name of CHOSEN) {
    const value = traits[name];
    const known = training.traits[name];
    if (value === undefined || !known) continue;
    const low = known[0]!;
    const high = known.at(-1)!;
    found[name] = Math.max(low - value, value - high, 0) / Math.max(high - low, 1e-6);
  }
  return found;
}

/** Distance from the training heads: the root of the sum of the squares. */
export function sumUp(unlike: Traits): number {
  return Math.sqrt(Object.values(unlike).reduce((sum, value) => sum + value ** 2, 0));
}
