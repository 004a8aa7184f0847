/**
 * One number for how far a mask can be trusted, from what was measured and what was flagged.
 *
 *     score = 100 * exp(-sum of penalties)
 *
 * Constants are those of the Python package; a test compares them.
 */

import type { Card } from "../network/weights";
import { roundHalfEven, toDigits } from "../statistics";
import { findUnlike, sumUp } from "./likeness";
import { type Flag, findFlags, findTraitFlags, type Scan } from "./quality";
import type { Trait, Traits } from "./traits";

/** Below it a person should look. */
export const LOW = 70;

/** Limit that good masks stay within, and weight of what is beyond. */
export const TERMS: Partial<Record<Trait, readonly [limit: number, weight: number]>> = {
  rim_mm: [1.79, 0.25],
  sure_in: [6.0, -0.1],
  sure_out: [-0.53, 2.0],
  second: [0.0, 2.0],
  mirror: [0.08, 2.0],
};

export const UNLIKE_WEIGHT = 0.2;

/** Of each flag that says more than the traits do. */
export const COSTS: Record<string, number> = {
  "looks-like-ct": 0.7,
  "looks-like-phantom": 3.0,
  "already-stripped": 0.7,
  "beyond-mask": 0.5,
  misplaced: 0.7,
  volume: 0.5,
  "field-cuts-brain": 0.05,
  orientation: 0.2,
  "not-finite": 0.05,
};

export interface Quality {
  score: number;
  flags: Flag[];
  traits: Traits;
}

/** Find the doubts about a mask, and sum them up. */
export function judge(scan: Scan, traits: Traits, card: Card): Quality {
  const unlike = findUnlike(traits, card);
  const flags = findFlags(scan);
  flags.push(...findTraitFlags(traits, unlike, flags.some(({ name }) => name === "field-cuts-brain")));
  const score = makeScore(traits, flags.map(({ name }) => name), unlike);
  const rounded = Object.fromEntries(Object.entries(traits).map(([name, value]) => [name, toDigits(value, 4)]));
  return { score, flags, traits: rounded };
}

/** Sum up traits and flags: 0 to 100, and 0 without any traits. */
export function makeScore(traits: Traits, flags: readonly string[], unlike: Traits | null): number {
  if (!Object.keys(traits).length) return 0;
  let penalty = UNLIKE_WEIGHT * sumUp(unlike ?? {});
  for (const [name, [limit, weight]] of Object.entries(TERMS)) {
    penalty += Math.max(0, (traits[name as Trait]! - limit) * weight);
  }
  for (const flag of flags) penalty += COSTS[flag] ?? 0;
  return roundHalfEven(100 * Math.exp(-penalty));
}
