/** What comes out of a strip: the mask and all that is made from it, in native space. */

import { EmptyMaskError } from "./errors";
import { emptyMask, type Field, select, zeros } from "./image/field";
import type { Fingerprint } from "./image/fingerprint";
import { type Box, findBox, type Grid } from "./image/grid";
import { encodeBrain, encodeMap, encodeMask, type Volume } from "./image/volume";
import { judge, type Quality } from "./measure/score";
import type { Traits } from "./measure/traits";
import { RUNTIME } from "./network/engine";
import type { Weights } from "./network/weights";
import { cleanMask, findReach, makeSignedDistance, paste, within } from "./prepare/postprocess";
import { LIMITS, type Settings } from "./settings";
import { countVoxels } from "./statistics";

/** Version of the record: that of the Python package. */
export const SCHEMA = 1;

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

  /** The probability in all of the scan's field: 0 outside of its box. */
  fillField(): Field {
    const whole = zeros(this.grid.shape);
    paste(this.probability, whole.crop(this.box));
    return whole;
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
      this.distance = { field: makeSignedDistance(this.cleaned!.crop(box).copy(), voxelSize, LIMITS.border[1]), box, reach: reach.join() };
    }
    const { field, box } = this.distance;
    const moved = emptyMask(this.grid.shape);
    paste(within(field, border), moved.crop(box));
    return moved;
  }
}

/** A mask that a hand may have mended, and the name of its file. */
export interface Drawn {
  values: Uint8Array;
  name: string;
}

/** One stripped scan. */
export class Result {
  private quality: Quality | null = null;

  /** The brain has its mask by these settings already; `find` finds it with the CSF around, or without. */
  constructor(
    readonly volume: Volume,
    public brain: Brain,
    private readonly find: (csf: boolean) => Brain,
    private settings: Settings,
    private readonly traits: Traits,
    private readonly made: { weights: Weights; threads: number; onWebgpu: boolean },
    private readonly seconds: Record<string, number>,
  ) {}

  /** Make the mask by other settings. */
  remake(settings: Settings): void {
    const { threshold, border, csf } = this.settings;
    if (settings.threshold === threshold && settings.border === border && settings.csf === csf) return;
    const brain = settings.csf === csf ? this.brain : this.find(settings.csf);
    brain.makeMask(settings);
    this.brain = brain;
    this.settings = settings;
    this.quality = null;
  }

  /** Score, doubts and traits; made when they are asked for, so that a slider need not wait for them. */
  judge(): Quality {
    if (this.quality) return this.quality;
    const { data, grid, padding } = this.volume;
    const { mask, probability, box } = this.brain;
    const scan = { data, mask, probability, box, voxelSize: grid.voxelSize, padded: padding?.voxels ?? 0 };
    this.quality = judge(scan, this.traits, this.made.weights.card);
    return this.quality;
  }

  /** Files of the mask and of the brain, for a mask that a hand may have mended, and of the probability. */
  encode(output: "mask" | "brain" | "probability", mask: Uint8Array): Uint8Array[] {
    const { source } = this.volume;
    if (output === "probability") return encodeMap(this.brain.fillField().values, source);
    return output === "mask" ? encodeMask(mask, source) : encodeBrain(mask, source);
  }

  /** What a picture's title says; score and doubts are of the automatic mask only. */
  describe(mask: Uint8Array): string {
    const ml = `${this.measureMl(mask).toFixed(0)} ml`;
    if (this.isCorrected(mask)) return `${ml}, corrected by hand`;
    const { score, flags } = this.judge();
    return [ml, `score ${score}`, ...flags.map(({ name }) => name)].join(", ");
  }

  measureMl(mask: Uint8Array): number {
    return (countVoxels({ values: mask }) * this.volume.grid.voxelVolume) / 1000;
  }

  /** What was done, and what came of it, as `src/deskull/record.py` has it; `drawn` is a mask that may be mended. */
  makeRecord(version: string, file: Fingerprint, drawn: Drawn | null): object {
    const { grid, source, name, notes, padding } = this.volume;
    const { weights, threads, onWebgpu } = this.made;
    const automatic = this.brain.mask.values;
    return {
      schema: SCHEMA,
      status: "done",
      deskull: version,
      weights: { name: weights.name, sha256: weights.digest },
      runtime: RUNTIME,
      device: onWebgpu ? "browser, WebGPU" : "browser",
      threads,
      settings: { ...this.settings, n4: null, fill: 0 },
      input: {
        ...file,
        path: name,
        file: null,
        shape: grid.shape,
        voxel_size: grid.voxelSize.map((size) => toDecimals(size, 6)),
        orientation: grid.orientation,
        frame: source.frame,
        notes,
        padding,
      },
      volume_ml: toDecimals(this.measureMl(automatic), 3),
      ...this.judge(),
      seconds: Object.fromEntries(Object.entries(this.seconds).map(([step, value]) => [step, toDecimals(value, 4)])),
      outputs: {},
      ...(drawn && this.isCorrected(drawn.values) && { corrected: this.describeCorrected(drawn) }),
    };
  }

  /** Whether a mask is not the automatic one. */
  private isCorrected(mask: Uint8Array): boolean {
    const automatic = this.brain.mask.values;
    return mask.some((value, i) => value !== automatic[i]);
  }

  private describeCorrected({ values, name }: Drawn): object {
    return { bytes: null, modified: null, sha256: "", file: name, volume_ml: toDecimals(this.measureMl(values), 3) };
  }
}

const toDecimals = (value: number, places: number): number => Number(value.toFixed(places));
