/** What comes out of a strip: the mask and all that is made from it, in native space. */

import { EmptyMaskError } from "./errors";
import { emptyMask, type Field, select } from "./image/field";
import { type Box, findBox, type Grid } from "./image/grid";
import { encodeBrain, encodeMask, type Volume } from "./image/volume";
import { judge, type Quality } from "./measure/score";
import type { Traits } from "./measure/traits";
import { RUNTIME } from "./network/engine";
import type { Weights } from "./network/weights";
import { cleanMask, findReach, makeSignedDistance, paste, within } from "./prepare/postprocess";
import { countVoxels, toDigits } from "./statistics";

/** What a user may choose. */
export interface Settings {
  /** Probability from which on a voxel is brain. */
  threshold: number;
  /** Millimetres by which the mask's surface is moved at the end; plus grows. */
  border: number;
}

export const DEFAULTS: Settings = { threshold: 0.5, border: 0 };
export const LIMITS = { threshold: [0.01, 0.99], border: [-8, 8] } as const;

/** The probability of the brain in its box of a scan, and masks made of it: quickly, for sliders. */
export class Brain {
  private threshold = NaN;
  private cleaned: Field<Uint8Array> | null = null;
  private distance: { field: Field; box: Box; reach: string } | null = null;
  mask: Field<Uint8Array>;

  constructor(
    readonly name: string,
    readonly probability: Field,
    readonly box: Box,
    private readonly grid: Grid,
  ) {
    this.mask = emptyMask(grid.shape);
  }

  /** Threshold, largest piece, holes, border. */
  makeMask({ threshold, border }: Settings): Field<Uint8Array> {
    if (threshold !== this.threshold || !this.cleaned) this.clean(threshold);
    const mask = border === 0 ? this.cleaned! : this.moveBorder(border);
    if (!findBox(mask)) throw new EmptyMaskError(`${this.name}: a border of ${border} mm leaves no brain.`);
    this.mask = mask;
    return mask;
  }

  /** Take a mask that was made before. */
  takeMask(values: Uint8Array): Field<Uint8Array> {
    this.mask = this.mask.like(values);
    return this.mask;
  }

  private clean(threshold: number): void {
    const mask = emptyMask(this.grid.shape);
    paste(cleanMask(select(this.probability, (value) => value >= threshold)), mask.crop(this.box));
    if (!findBox(mask)) {
      throw new EmptyMaskError(`${this.name}: no brain found. Is it a head, and is the brain in its field of view?`);
    }
    this.cleaned = mask;
    this.threshold = threshold;
    this.distance = null;
  }

  /** The distance is measured once for each reach, in the command line's own box; then a border is only a comparison. */
  private moveBorder(border: number): Field<Uint8Array> {
    const { voxelSize } = this.grid;
    const reach = findReach(border, voxelSize);
    if (this.distance?.reach !== reach.join()) {
      const box = findBox(this.cleaned!, reach)!;
      this.distance = { field: makeSignedDistance(this.cleaned!.crop(box).copy(), voxelSize), box, reach: reach.join() };
    }
    const { field, box } = this.distance;
    const moved = emptyMask(this.grid.shape);
    paste(within(field, border), moved.crop(box));
    return moved;
  }
}

/** One stripped scan. */
export class Result {
  readonly quality: Quality;

  constructor(
    readonly volume: Volume,
    readonly brain: Brain,
    traits: Traits,
    private readonly weights: Weights,
    private readonly threads: number,
    private readonly seconds: Record<string, number>,
  ) {
    const { data, grid } = volume;
    const { mask, probability, box } = brain;
    this.quality = judge({ data, mask, probability, box, voxelSize: grid.voxelSize }, traits, weights.card);
  }

  /** Files of the mask and of the brain, for a mask that a hand may have mended. */
  encode(output: "mask" | "brain", mask: Uint8Array): Uint8Array[] {
    return output === "mask" ? encodeMask(mask, this.volume.source) : encodeBrain(mask, this.volume.source);
  }

  /** What a picture's title says. */
  describe(mask: Uint8Array): string {
    const flags = this.quality.flags.map(({ name }) => name);
    return [`${this.measureMl(mask).toFixed(0)} ml`, `score ${this.quality.score}`, ...flags].join(", ");
  }

  measureMl(mask: Uint8Array): number {
    return (countVoxels({ values: mask }) * this.volume.grid.voxelVolume) / 1000;
  }

  /** Versions, weights, settings, timings, volume and flags, as the command line records them. */
  makeRecord(version: string, settings: Settings, mask: Uint8Array, isMended: boolean): object {
    const { grid, source } = this.volume;
    return {
      deskull: version,
      weights: { name: this.weights.name, sha256: this.weights.digest },
      runtime: RUNTIME,
      device: "browser",
      threads: this.threads,
      settings: { ...settings, csf: true, n4: null, fill: 0 },
      mended_by_hand: isMended,
      input: {
        shape: grid.shape,
        voxel_size: grid.voxelSize.map((size) => Number(size.toFixed(6))),
        orientation: grid.orientation,
        frame: source.frame,
      },
      volume_ml: Number(this.measureMl(mask).toFixed(3)),
      ...this.quality,
      seconds: Object.fromEntries(Object.entries(this.seconds).map(([name, value]) => [name, toDigits(value, 4)])),
    };
  }
}
