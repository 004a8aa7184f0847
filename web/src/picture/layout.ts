/** What a picture shows and where: slices in three planes, voxel sizes respected. Nothing is drawn here. */

import type { Triple } from "../image/affine";
import type { Field } from "../image/field";
import { findBox, type Grid, toCanonicalField } from "../image/grid";
import { percentilesInPlace, roundHalfEven } from "../statistics";

export const WIDTH = 1600;
export const GUTTER = 6;
export const HALF_WIDTH = Math.floor((WIDTH - 5 * GUTTER) / 2);
export const HALF = HALF_WIDTH + 3 * GUTTER;
export const HEADER = 58;

const LARGEST_SCALE = 3.0; // pixels per mm at most, so that a small field is not blown up
const MARGIN_MM = 14.0; // shown around the mask's box: skull and scalp
const MIN_MM = 150.0; // shown at least along each axis
const WINDOW_PERCENTILES = [2.0, 99.5] as const;

/** A slice: the RAS+ axis that is cut, and where, as share of the mask's box. */
export interface Cut {
  axis: 0 | 1 | 2;
  share: number;
}

const cuts = (axis: 0 | 1 | 2, shares: readonly number[]): Cut[] => shares.map((share) => ({ axis, share }));

export const MOSAIC: readonly Cut[][] = [
  cuts(2, [0.14, 0.38, 0.62, 0.84]),
  cuts(1, [0.16, 0.38, 0.62, 0.84]),
  cuts(0, [0.2, 0.5, 0.72]),
];

/** Axes that run to the right and up. */
export const ACROSS = [[1, 2], [0, 2], [0, 1]] as const;

/** Words at the left and right corner of a slice. */
export function findLabel({ axis, share }: Cut): [string, string] {
  if (axis) return ["L", "R"];
  if (share === 0.5) return ["middle", ""];
  return [share < 0.5 ? "left half" : "right half", ""];
}

type Edges = [number, number][];

/** What all slices share: arrays near RAS+, the part shown, and how it is drawn. */
export interface View {
  data: Field;
  mask: Field<Uint8Array>;
  box: Edges;
  bounds: Edges;
  extent: Triple;
  window: [number, number];
  scale: number;
}

export interface Tile {
  cut: Cut;
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Bring arrays to RAS+ and decide what is shown, how large and how bright. */
export function makeView(scan: Field, inside: Field<Uint8Array>, grid: Grid): View {
  const data = toCanonicalField(scan, grid);
  const mask = toCanonicalField(inside, grid);
  const { voxelSize } = grid.canonical();
  const field = mask.shape.map((count) => [0, count]) as Edges;
  const found = findBox(mask);
  const box: Edges = found ?? field;
  const bounds = !found
    ? field
    : found.map(([start, stop], axis): [number, number] => {
        const size = voxelSize[axis]!;
        const margin = Math.max(MARGIN_MM, (MIN_MM - (stop - start) * size) / 2) / size;
        return [Math.max(start - margin, 0), Math.min(stop + margin, mask.shape[axis]!)];
      });
  const extent = bounds.map(([low, high], axis) => (high - low) * voxelSize[axis]!) as Triple;
  const scales = MOSAIC.flatMap((row) =>
    row.map(({ axis }) => (HALF_WIDTH - (row.length - 1) * GUTTER) / row.length / extent[ACROSS[axis][0]]),
  );
  const window = findWindow(data, mask, bounds);
  return { data, mask, box, bounds, extent, window, scale: Math.min(...scales, LARGEST_SCALE) };
}

/** Intensities drawn black and white. */
function findWindow(data: Field, mask: Field<Uint8Array>, bounds: Edges): [number, number] {
  const part = bounds.map(([low, high]) => [Math.floor(low), Math.ceil(high)] as const);
  const steps = part.map(([low, high]) => Math.max(Math.floor((high - low) / 64), 1)) as Triple;
  const values = data.crop(part).every(steps).copy().values;
  const inside = mask.crop(part).every(steps).copy().values;
  const shown = values.filter(Number.isFinite);
  const brain = values.filter((value, i) => inside[i] && Number.isFinite(value));
  if (!shown.length) return [0, 1];
  const white = percentilesInPlace(brain.length ? brain : shown.slice(), [WINDOW_PERCENTILES[1]])[0]!;
  const black = percentilesInPlace(shown, [WINDOW_PERCENTILES[0]])[0]!;
  return [black, white > black ? white : black + 1];
}

/** Put slices side by side, each in the middle of its slot; also the row's height. */
export function placeRow(view: View, row: readonly Cut[], top: number): { tiles: Tile[]; height: number } {
  const sizes = row.map(({ axis }) => ACROSS[axis].map((across) => roundHalfEven(view.extent[across] * view.scale)) as [number, number]);
  const height = Math.max(...sizes.map(([, tall]) => tall));
  const slot = (HALF_WIDTH + GUTTER) / row.length;
  const tiles = row.map((cut, number) => {
    const [width, tall] = sizes[number]!;
    const left = Math.trunc(GUTTER + number * slot + (slot - GUTTER - width) / 2);
    return { cut, left, top: top + Math.floor((height - tall) / 2), width, height: tall };
  });
  return { tiles, height };
}

/** Brightness and mask, in [0, 1], of one slice at its pixels, row by row from the top. */
export function cutSlice(view: View, tile: Tile): { values: Float32Array; inside: Float32Array } {
  const { axis, share } = tile.cut;
  const [low, high] = view.box[axis]!;
  const layer = Math.min(Math.trunc(low + share * (high - low)), view.mask.shape[axis]! - 1);
  const [black, white] = view.window;
  const bright = (value: number) => (Number.isFinite(value) ? Math.min(Math.max((value - black) / (white - black), 0), 1) : 0);
  return {
    values: sample(view.data, view, tile, layer, bright),
    inside: sample(view.mask, view, tile, layer, (value) => value),
  };
}

/** Read a layer off, linearly, at the middles of a tile's pixels. */
function sample(
  field: Field<Float32Array | Uint8Array>,
  view: View,
  { cut, width, height }: Tile,
  layer: number,
  map: (value: number) => number,
): Float32Array {
  const [right, up] = ACROSS[cut.axis];
  const read = (a: number, b: number) => {
    const at: Triple = [layer, layer, layer];
    at[right] = Math.min(Math.max(a, 0), field.shape[right] - 1);
    at[up] = Math.min(Math.max(b, 0), field.shape[up] - 1);
    return map(field.at(...at));
  };
  const out = new Float32Array(width * height);
  const place = (pixel: number, count: number, [low, high]: [number, number]) => low + ((pixel + 0.5) / count) * (high - low) - 0.5;
  for (let row = 0; row < height; row++) {
    const v = place(height - 1 - row, height, view.bounds[up]!);
    const b = Math.floor(v);
    for (let column = 0; column < width; column++) {
      const u = place(column, width, view.bounds[right]!);
      const a = Math.floor(u);
      const lower = read(a, b) + (read(a + 1, b) - read(a, b)) * (u - a);
      const upper = read(a, b + 1) + (read(a + 1, b + 1) - read(a, b + 1)) * (u - a);
      out[row * width + column] = lower + (upper - lower) * (v - b);
    }
  }
  return out;
}
