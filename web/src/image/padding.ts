/**
 * Padding: voxels that no scanner measured, and that hold one value far from all others.
 *
 * Rule and constants are those of the Python package, which explains them; a test compares what both find.
 */

import { roundHalfEven, toGeneral } from "../statistics";
import type { Triple } from "./affine";
import { emptyMask, Field } from "./field";
import { findBox } from "./grid";

export const PADDING_LIMITS = {
  SAMPLE: 64,
  MIN_SHARE: 5e-4,
  ROUND: 2 ** 13,
  MAX_VALUES: 4,
  MIN_LEVELS: 50,
  SEAM_SHARE: 0.05,
  STRAY: 0.01,
  TAIL: 0.005,
  FAR: 0.1,
  FAR_STEPS: 8,
  FAR_MIXED: 1.0,
  FAR_ALONE: 10.0,
  BRIGHT: 4.0,
  AIR_SHARE: 0.15,
  RIM_SHARE: 0.5,
  LABEL_SHARE: 0.6,
} as const;

const L = PADDING_LIMITS;

/** What of a scan was not measured. */
export interface Padding {
  /** What it held, ascending. */
  values: number[];
  /** How many. */
  voxels: number;
}

/** Say in a phrase what was found in a field of so many voxels. */
export function describePadding({ values, voxels }: Padding, size: number): string {
  const filled = values.map((value) => toGeneral(value)).join(" and ");
  return `${toGeneral((100 * voxels) / size, 2)} % of the field is filled with ${filled}; treated as air`;
}

/** Turn the padding of a scan into NaN, in place; null if there is none. */
export function takeOutPadding(data: Field): Padding | null {
  const sample = takeSample(data);
  let levels = Levels.count(sample.values);
  let [low, high] = [-Infinity, Infinity];
  const values: number[] = [];
  while (levels.values.length && values.length < L.MAX_VALUES) {
    const looked = levels.listCandidates().map((place) => levels.lookAt(place));
    const found = looked.filter((one) => one !== null).filter((one) => isPadding(one, sample, high));
    if (!found.length) break;
    const outermost = found.reduce((most, one) => (measureGap(one) > measureGap(most) ? one : most));
    values.push(outermost.value);
    low = Math.max(low, outermost.low);
    high = Math.min(high, outermost.high);
    levels = levels.between(low, high);
  }
  if (!values.length || isLabelMap(data, levels.findEnd(2 * L.SEAM_SHARE, true), high)) return null;
  [low, high] = [Math.fround(low), Math.fround(high)];
  let voxels = 0;
  for (let i = 0; i < data.values.length; i++) {
    const value = data.values[i]!;
    if (!Number.isFinite(value) || (value >= low && value <= high)) continue;
    data.values[i] = NaN;
    voxels++;
  }
  return { values: values.sort((a, b) => a - b), voxels };
}

/** Some planes along each axis, the first and the last among them. */
function takeSample(data: Field): Field {
  const [xs, ys, zs] = data.shape.map((n) => {
    const planes = Array.from({ length: L.SAMPLE }, (_, i) => roundHalfEven((i * (n - 1)) / (L.SAMPLE - 1)));
    return [...new Set(planes)];
  }) as [number[], number[], number[]];
  const values = new Float32Array(xs.length * ys.length * zs.length);
  let count = 0;
  for (const z of zs) for (const y of ys) for (const x of xs) values[count++] = data.at(x, y, z);
  return new Field(values, [xs.length, ys.length, zs.length]);
}

/** A value that may be padding, and what the rest is like. */
interface Candidate {
  value: number;
  /** Of the sample. */
  share: number;
  /** Where nearly all of the rest begins, seen from the value. */
  bulk: number;
  /** Range of the rest. */
  span: number;
  /** Distance of the value from the rest, but for strays; 0 if its steps are as large. */
  nearest: number;
  /** Limits of the rest. */
  low: number;
  high: number;
}

const measureGap = ({ value, bulk }: Candidate): number => Math.abs(value - bulk);

/** The values of a sample, ascending, and how often each occurs. */
class Levels {
  private readonly sums: Float64Array;

  private constructor(
    readonly values: Float64Array,
    private readonly counts: Float64Array,
  ) {
    let sum = 0;
    this.sums = counts.map((count) => (sum += count));
  }

  /** Count values, those together that differ by no more than rounding. */
  static count(sample: Float32Array): Levels {
    const sorted = sample.filter(Number.isFinite).sort();
    const different: number[] = [];
    const groups: { first: number; count: number; key: number }[] = [];
    for (let start = 0, stop = 0; start < sorted.length; start = stop) {
      const value = sorted[start]!;
      while (sorted[stop] === value) stop++;
      const key = roundMantissa(value);
      const last = groups.at(-1);
      if (last?.key === key) last.count += stop - start;
      else groups.push({ first: different.length, count: stop - start, key });
      different.push(value);
    }
    const middle = groups.map(({ first }, k) => different[(first + (groups[k + 1]?.first ?? different.length) - 1) >> 1]!);
    return new Levels(Float64Array.from(middle), Float64Array.from(groups, ({ count }) => count));
  }

  /** Those within limits. */
  between(low: number, high: number): Levels {
    return this.keep((value) => value >= low && value <= high);
  }

  private keep(test: (value: number, place: number) => boolean): Levels {
    return new Levels(this.values.filter(test), this.counts.filter((_, place) => test(this.values[place]!, place)));
  }

  private get total(): number {
    return this.sums.at(-1) ?? 0;
  }

  /** Value at the low or high end, without a share of all. */
  findEnd(share: number, isLow: boolean): number {
    return this.values[this.findPlace(share, isLow)]!;
  }

  private findPlace(share: number, isLow: boolean): number {
    const wanted = (isLow ? share : 1 - share) * this.total;
    const place = this.sums.findIndex((sum) => sum >= wanted);
    return place < 0 ? this.values.length - 1 : place;
  }

  /** Places of values that may be padding: the most frequent, in all and at either end. */
  listCandidates(): number[] {
    const [low, high] = [this.findPlace(L.SEAM_SHARE, true), this.findPlace(L.SEAM_SHARE, false)];
    const stop = this.values.length;
    const parts = [[0, stop], [0, 1], [0, low], [high, stop], [high + 1, stop], [stop - 1, stop]] as const;
    const places = new Set(parts.filter(([a, b]) => a < b).map(([a, b]) => this.findCommonest(a, b)));
    const fewest = Math.max(L.MIN_SHARE * this.total, 8);
    return [...places].sort((a, b) => a - b).filter((place) => this.counts[place]! >= fewest);
  }

  private findCommonest(start: number, stop: number): number {
    let best = start;
    for (let place = start; place < stop; place++) if (this.counts[place]! > this.counts[best]!) best = place;
    return best;
  }

  /** Compare a value with the rest; null where the rest lies about it, or has no range. */
  lookAt(place: number): Candidate | null {
    const [value, count] = [this.values[place]!, this.counts[place]!];
    const rest = this.keep((_, other) => other !== place);
    if (rest.values.length < L.MIN_LEVELS) return null;
    const under = this.sums[place]! - count;
    const { total } = rest;
    const isBelow = under < total - under;
    if (Math.min(under, total - under) > L.STRAY * count) return null;
    const bulk = rest.findEnd(Math.min(count / total, L.SEAM_SHARE * (isBelow ? 2 : 1)), isBelow);
    const other = rest.findEnd(L.TAIL, !isBelow);
    const span = Math.abs(other - bulk);
    const first = rest.findPlace(Math.min((L.STRAY * count) / total, L.TAIL), isBelow);
    if (span === 0 || other === value) return null;
    const few = isBelow ? rest.values.slice(first).slice(0, L.FAR_STEPS) : rest.values.slice(0, first + 1).slice(-L.FAR_STEPS);
    let nearest = Math.abs(rest.values[first]! - value);
    if (nearest < few.at(-1)! - few[0]!) nearest = 0;
    const middle = (value + bulk) / 2;
    const low = Math.min(bulk, other) - L.FAR * span;
    const high = Math.max(bulk, other) + L.BRIGHT * span;
    return {
      value,
      share: count / (count + total),
      bulk,
      span,
      nearest,
      low: isBelow ? Math.max(low, middle) : low,
      high: isBelow ? high : Math.min(high, middle),
    };
  }
}

/** A number that is the same for values which agree to one part in so many. */
function roundMantissa(value: number): number {
  if (value === 0) return 0;
  let exponent = Math.floor(Math.log2(Math.abs(value))) + 1;
  if (Math.abs(value) >= 2 ** exponent) exponent++;
  if (Math.abs(value) < 2 ** (exponent - 1)) exponent--;
  return roundHalfEven((value / 2 ** exponent) * L.ROUND) + 4 * L.ROUND * exponent * Math.sign(value);
}

/** Whether a value lies above a limit, and up to another; compared in single precision, as numpy does. */
function above(low: number, high: number): (value: number) => boolean {
  const [least, most] = [Math.fround(low), Math.fround(high)];
  return (value) => value > least && value <= most;
}

/** Decide about a value: by its distance from the rest, and by where it lies. */
function isPadding(one: Candidate, sample: Field, high: number): boolean {
  const distance = measureGap(one);
  if (one.nearest < L.FAR * one.span && distance < L.FAR_MIXED * one.span) return false;
  const isAlone = distance >= L.FAR_ALONE * one.span || one.nearest >= L.FAR_MIXED * one.span;
  if (one.value < one.bulk) return (isAlone && one.value !== 0) || hasAir(one, sample, high);
  return isAlone || shareOfFaces(mark(sample, above(one.high, Infinity))) >= L.RIM_SHARE * one.share;
}

/** Whether there is air around the head beside a dark padding. */
function hasAir(one: Candidate, sample: Field, high: number): boolean {
  const isMeasured = above(one.low, high);
  const dark = Math.fround(one.bulk + L.FAR * one.span);
  const measured = mark(sample, isMeasured);
  const box = findBox(measured);
  if (!box) return false;
  const head = measured.crop(box).copy();
  const air = mark(sample.crop(box).copy(), (value) => isMeasured(value) && value <= dark);
  if (sum(air) < L.AIR_SHARE * sum(head)) return false;
  return shareOfFaces(air) >= L.RIM_SHARE * shareOfFaces(head);
}

function mark(field: Field, test: (value: number) => boolean): Field<Uint8Array> {
  const mask = emptyMask(field.shape);
  for (let i = 0; i < mask.values.length; i++) mask.values[i] = test(field.values[i]!) ? 1 : 0;
  return mask;
}

const sum = ({ values }: Field<Uint8Array>): number => values.reduce((all, value) => all + value, 0);

/** View of one plane across an axis. */
function cutPlane<T extends Float32Array | Uint8Array>(field: Field<T>, axis: number, at: number): Field<T> {
  return field.crop(field.shape.map((n, k) => (k === axis ? [at, at + 1] : [0, n]) as [number, number])).copy();
}

/** Share of the voxels on the six faces that are in a mask. */
function shareOfFaces(mask: Field<Uint8Array>): number {
  const faces = mask.shape.flatMap((n, axis) => [0, n - 1].map((at) => cutPlane(mask, axis, at)));
  return faces.reduce((all, face) => all + sum(face), 0) / faces.reduce((all, face) => all + face.size, 0);
}

/** Whether neighbours hold the same value in most places that are no air. */
function isLabelMap(data: Field, low: number, high: number): boolean {
  const isMeasured = above(low, high);
  let [same, pairs] = [0, 0];
  data.shape.forEach((n, axis) => {
    const plane = cutPlane(data, axis, Math.floor(n / 2));
    const step = axis === 0 ? 1 : 0; // the first axis of the plane
    const [nx, ny, nz] = plane.shape.map((length, k) => length - (k === step ? 1 : 0)) as Triple;
    const stride = plane.strides[step]!;
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx; x++) {
          const place = plane.index(x, y, z);
          const [here, next] = [plane.values[place]!, plane.values[place + stride]!];
          if (!isMeasured(here) || !isMeasured(next)) continue;
          pairs++;
          if (here === next) same++;
        }
      }
    }
  });
  return same > L.LABEL_SHARE * pairs;
}
