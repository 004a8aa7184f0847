/**
 * Connected pieces of masks, through voxel faces.
 *
 * Along the first axis a mask is a few runs of voxels; joining runs that touch is far less work
 * than walking from voxel to voxel.
 */

import { emptyMask, Field } from "../image/field";

type Mask = Field<Uint8Array>;

/** Runs of equal voxels, row by row, and which piece each belongs to. */
class Runs {
  /** First voxel of each run, counted over the whole array, and the one after its last. */
  readonly starts: number[] = [];
  readonly stops: number[] = [];
  private readonly parents: number[] = [];

  /** Of the voxels of a plain array that are inside (or outside, if `wanted` is 0). */
  constructor(
    readonly mask: Mask,
    wanted: 0 | 1,
  ) {
    const { values, shape } = mask;
    const [nx, ny, nz] = shape;
    const rows: number[] = []; // number of the first run of each row
    for (let row = 0; row < ny * nz; row++) {
      rows.push(this.starts.length);
      const end = (row + 1) * nx;
      for (let i = row * nx; i < end; i++) {
        if (Number(values[i]! !== 0) !== wanted) continue;
        this.parents.push(this.starts.length);
        this.starts.push(i);
        while (i < end && Number(values[i]! !== 0) === wanted) i++;
        this.stops.push(i);
      }
    }
    rows.push(this.starts.length);
    for (let row = 0; row < ny * nz; row++) {
      if (row % ny) this.join(rows, row, row - 1, nx);
      if (row >= ny) this.join(rows, row, row - ny, nx);
    }
  }

  /** Join the runs of one row with those of another that they touch. */
  private join(rows: readonly number[], row: number, other: number, nx: number): void {
    const shift = (row - other) * nx;
    let b = rows[other]!;
    for (let a = rows[row]!; a < rows[row + 1]!; a++) {
      const [start, stop] = [this.starts[a]! - shift, this.stops[a]! - shift];
      while (b < rows[other + 1]! && this.stops[b]! <= start) b++;
      for (let k = b; k < rows[other + 1]! && this.starts[k]! < stop; k++) this.unite(a, k);
    }
  }

  /** Number of the piece that a run belongs to: that of its first run. */
  find(run: number): number {
    while (this.parents[run] !== run) {
      this.parents[run] = this.parents[this.parents[run]!]!;
      run = this.parents[run]!;
    }
    return run;
  }

  private unite(a: number, b: number): void {
    const [one, other] = [this.find(a), this.find(b)];
    this.parents[Math.max(one, other)] = Math.min(one, other);
  }

  /** Voxels of each piece, by its number, in the order in which they are met. */
  measure(): Map<number, number> {
    const sizes = new Map<number, number>();
    this.starts.forEach((start, run) => {
      const piece = this.find(run);
      sizes.set(piece, (sizes.get(piece) ?? 0) + this.stops[run]! - start);
    });
    return sizes;
  }

  /** Mask of the runs whose piece passes a test. */
  draw(test: (piece: number) => boolean): Mask {
    const drawn = emptyMask(this.mask.shape);
    this.starts.forEach((start, run) => {
      if (test(this.find(run))) drawn.values.fill(1, start, this.stops[run]);
    });
    return drawn;
  }
}

/** How many voxels each piece has, the largest first. */
export function measurePieces(mask: Mask): number[] {
  return [...new Runs(toPlain(mask), 1).measure().values()].sort((a, b) => b - a);
}

/** The largest piece; of two equal ones the first. */
export function keepLargest(mask: Mask): Mask {
  const runs = new Runs(toPlain(mask), 1);
  let largest = -1;
  let most = 0;
  for (const [piece, size] of runs.measure()) if (size > most) [largest, most] = [piece, size];
  return runs.draw((piece) => piece === largest);
}

/** Fill what no path through voxel faces leads out of; what reaches the array's edge is no hole. */
export function fillHoles(mask: Mask): Mask {
  const runs = new Runs(toPlain(mask), 0);
  const [nx, ny, nz] = mask.shape;
  const open = new Set<number>();
  runs.starts.forEach((start, run) => {
    const row = Math.floor(start / nx);
    const [y, z] = [row % ny, Math.floor(row / ny)];
    const atEdge = y === 0 || y === ny - 1 || z === 0 || z === nz - 1 || start % nx === 0 || runs.stops[run]! % nx === 0;
    if (atEdge) open.add(runs.find(run));
  });
  const filled = runs.draw((piece) => open.has(piece));
  for (let i = 0; i < filled.values.length; i++) filled.values[i] = filled.values[i] ? 0 : 1;
  return filled;
}

function toPlain(mask: Mask): Mask {
  return mask.isPlain ? mask : mask.copy();
}
