/** The way in and the exact way back: any grid to the network's window, and home again. */

import { column, linear, makeAffine, type Triple } from "../image/affine";
import { Field, zeros } from "../image/field";
import { type Box, Grid, findBox, makeRasGrid, type Shape, toCanonicalField } from "../image/grid";
import { resample } from "../image/resample";
import { percentiles, roundHalfEven } from "../statistics";

const COARSE_MM = 4.0; // fine enough to find a head
const HEAD_LEVEL = 0.15; // of the way from air to bright: above noise and ghosts
const HEAD_SHARE = 0.05; // of the fullest slice: what a slice of the head holds at least
const FLOOR = -8.0; // logit of "surely outside"
const FITTED_MM = [1.0, 2.2] as const; // voxel sizes of a fitted window, from a newborn's brain to the largest
const STRAY = 1.0; // percent of a brain's voxels at each end that may be a neck, a nose or noise

/** The network's grid: how many voxels, and how large they are, as a card says it. */
export class WindowSettings {
  constructor(
    readonly shape: Shape,
    /** Edge in mm, or "fit": chosen for each head such that its brain fills `fill` of the window. */
    readonly voxelSize: number | "fit",
    readonly fill: number,
  ) {}

  static read(fields: { shape: Shape; voxel_size: number | "fit"; fill?: number }): WindowSettings {
    return new WindowSettings(fields.shape, fields.voxel_size, fields.fill ?? 0.75);
  }

  /** Choose the voxel size for a brain of some length along x, y, z in mm; the largest if none is known. */
  chooseVoxelSize(extent: Triple | null = null): number {
    if (this.voxelSize !== "fit") return this.voxelSize;
    if (!extent) return FITTED_MM[1];
    const wanted = Math.max(...extent.map((length, axis) => length / (this.fill * this.shape[axis]!)));
    return Math.min(Math.max(wanted, FITTED_MM[0]), FITTED_MM[1]);
  }
}

/** Where a brain lies: its middle in RAS+ mm, and its length along x, y, z in mm if known. */
export interface Extent {
  centre: Triple;
  extent: Triple | null;
}

/** Middle and length of a brain; the outmost hundredth of its voxels at either end does not count. */
export function measureExtent(brain: Field<Uint8Array>, grid: Grid): Extent & { extent: Triple } {
  const ends = findEnds(brain);
  const centre = grid.toMm(ends.map(([low, high]) => (low + high) / 2));
  const extent = ends.map(([low, high], axis) => (high - low + 1) * grid.voxelSize[axis]!) as Triple;
  return { centre, extent };
}

/** Percentiles of the voxels' indices along each axis. */
function findEnds(mask: Field<Uint8Array>): [number, number][] {
  const [nx, ny] = mask.shape;
  const counts = mask.shape.map((n) => new Float64Array(n));
  mask.values.forEach((value, i) => {
    if (!value) return;
    counts[0]![i % nx]!++;
    counts[1]![Math.floor(i / nx) % ny]!++;
    counts[2]![Math.floor(i / (nx * ny))]!++;
  });
  return counts.map((along) => [findPercentile(along, STRAY), findPercentile(along, 100 - STRAY)]);
}

/** Percentile, by linear interpolation, of whole numbers of which so many are given. */
function findPercentile(counts: Float64Array, percent: number): number {
  const whole = counts.reduce((a, b) => a + b, 0);
  const place = (percent / 100) * (whole - 1);
  const find = (rank: number) => {
    let before = 0;
    return counts.findIndex((count) => (before += count) > rank);
  };
  const low = find(Math.floor(place));
  const high = find(Math.min(Math.floor(place) + 1, whole - 1));
  return low + (high - low) * (place - Math.floor(place));
}

/**
 * Choose the network's grid about a point of the scan. Where the scan's axes are parallel to RAS+
 * and its voxels fit a whole number of times into the window's, the window is shifted onto the
 * scan's own lattice, which spares half a voxel of blur.
 */
export function makeWindow(centre: readonly number[], source: Grid, shape: Shape, voxelSize: number): Grid {
  const window = makeRasGrid(centre, shape, voxelSize);
  const lattice = source.canonical();
  const ratios = lattice.voxelSize.map((size) => voxelSize / size);
  const blocks = ratios.map((ratio) => Math.max(Math.floor(ratio + 0.01), 1));
  const axes = linear(lattice.affine);
  const parallel = axes.every((row, i) => row.every((value, j) => i === j || Math.abs(value) <= 1e-4));
  const whole = ratios.every((ratio, k) => Math.abs(ratio - blocks[k]!) <= 1e-3 + 1e-5 * blocks[k]!);
  if (!parallel || !whole) return window;
  const index = lattice.toIndex(column(window.affine, 3)).map((value, k) => (value - (blocks[k]! - 1) / 2) / blocks[k]!);
  const snapped = lattice.toMm(index.map((value, k) => roundHalfEven(value) * blocks[k]! + (blocks[k]! - 1) / 2));
  return new Grid(shape, makeAffine(linear(window.affine), snapped));
}

/**
 * Say where windows of `reach` mm should lie to hold the head, wherever it is: one in the middle
 * of what is brighter than air, or several from end to end along an edge longer than `reach`.
 */
export function findHeadCentres(data: Field, grid: Grid, reach: number): Triple[] {
  const canonical = grid.canonical();
  const steps = canonical.voxelSize.map((size) => Math.max(1, Math.trunc(COARSE_MM / size))) as Triple;
  const coarse = toCanonicalField(data, grid).every(steps).copy();
  const [low, high] = percentiles(coarse.values, [0.5, 99.5]) as [number, number];
  const level = low + HEAD_LEVEL * (high - low);
  const counts = coarse.shape.map((n) => new Float64Array(n));
  const [nx, ny] = coarse.shape;
  coarse.forEach((place, count) => {
    if (!(coarse.values[place]! > level)) return;
    counts[0]![count % nx]!++;
    counts[1]![Math.floor(count / nx) % ny]!++;
    counts[2]![Math.floor(count / (nx * ny))]!++;
  });
  const places = canonical.voxelSize.map((size, axis) => {
    const plane = coarse.size / coarse.shape[axis]!;
    const share = Array.from(counts[axis]!, (count) => count / plane);
    const least = HEAD_SHARE * Math.max(...share, 1e-9);
    const line = share.flatMap((value, k) => (value >= least ? [k] : []));
    const start = steps[axis]! * (line[0] ?? 0);
    const stop = Math.min(steps[axis]! * (line.at(-1) ?? share.length - 1), canonical.shape[axis]! - 1);
    const spare = Math.max(0, (stop - start) * size - reach);
    const count = 1 + Math.ceil(spare / (reach / 2));
    if (count === 1) return [(start + stop) / 2];
    const first = (start + stop - spare / size) / 2;
    return Array.from({ length: count }, (_, k) => first + ((spare / size) * k) / (count - 1));
  });
  return places[0]!.flatMap((x) => places[1]!.flatMap((y) => places[2]!.map((z) => canonical.toMm([x, y, z]))));
}

/** Bring a scan's intensities onto the network's window; `fill` is air. */
export function conform(data: Field, grid: Grid, window: Grid, fill: number): Field {
  return resample(data, grid, window, fill);
}

/**
 * Bring a map from the network's window back onto the scan's own voxels, in the box of the scan
 * that the brain can reach; elsewhere the map is at its floor. Null if it is everywhere.
 */
export function toNative(logits: Field, window: Grid, grid: Grid): { native: Field; box: Box } | null {
  const clipped = zeros(logits.shape);
  const likely = new Uint8Array(logits.size);
  logits.forEach((place, count) => {
    const value = Math.min(Math.max(logits.values[place]!, FLOOR), -FLOOR);
    clipped.values[count] = value;
    likely[count] = value > FLOOR / 2 ? 1 : 0;
  });
  const inside = findBox(new Field(likely, logits.shape));
  if (!inside) return null;
  const reach = window.crop(inside.map(([start, stop]) => [start - 1, stop + 1]) as Box);
  const index = reach.corners.map((corner) => grid.toIndex(reach.toMm(corner)));
  const box = [0, 1, 2].map((axis) => {
    const places = index.map((point) => point[axis]!);
    const length = grid.shape[axis]!;
    const start = Math.min(Math.max(Math.floor(Math.min(...places)), 0), length);
    const stop = Math.min(Math.max(Math.ceil(Math.max(...places)) + 1, start), length);
    return [start, stop];
  }) as Box;
  if (box.some(([start, stop]) => stop <= start)) return null;
  return { native: resample(clipped, window, grid.crop(box), FLOOR), box };
}
