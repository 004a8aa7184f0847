/** The angle between a brain's own axes and those of an upright brain; see `measure/traits.py`. */

import type { Matrix, Triple } from "../image/affine";
import type { Field } from "../image/field";

const FRONT: Triple = [0, 0.929, 0.369];
const ABOVE: Triple = [0, -0.369, 0.929];
const LONG = 1.05;
const SKEWED = 0.025;

/** Angle in degrees; 0 for what is too round or too even to have an axis or a sense of it. */
export function measureTurn(inside: Field<Uint8Array>): number {
  const places = findPlaces(inside);
  const axes = findAxes(covariance(places));
  const [first, second] = axes;
  if (first!.variance < LONG ** 2 * second!.variance) return 0;
  const skews = axes.map(({ axis }) => skewness(places, axis));
  const up = Math.abs(skews[1]!) > Math.abs(skews[2]!) ? 1 : 2;
  const angles = [0];
  for (const [k, upright] of [[0, FRONT], [up, ABOVE]] as const) {
    const cosine = dot(axes[k]!.axis, upright) * (skews[k]! > 0 ? 1 : -1);
    if (Math.abs(skews[k]!) >= SKEWED) angles.push((Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI);
  }
  return Math.max(...angles);
}

function dot(a: Triple, b: Triple): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** Voxels of the mask about their middle. */
function findPlaces(inside: Field<Uint8Array>): Triple[] {
  const [nx, ny] = inside.shape;
  const places: Triple[] = [];
  inside.values.forEach((value, i) => {
    if (value) places.push([i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny))]);
  });
  const middle = [0, 1, 2].map((k) => places.reduce((sum, place) => sum + place[k]!, 0) / places.length);
  return places.map((place) => place.map((value, k) => value - middle[k]!) as Triple);
}

function covariance(places: readonly Triple[]): Matrix {
  return [0, 1, 2].map((i) =>
    [0, 1, 2].map((j) => places.reduce((sum, place) => sum + place[i]! * place[j]!, 0) / (places.length - 1)),
  );
}

function skewness(places: readonly Triple[], axis: Triple): number {
  const along = places.map((place) => dot(place, axis));
  const moment = (power: number) => along.reduce((sum, value) => sum + value ** power, 0) / along.length;
  return moment(3) / moment(2) ** 1.5;
}

/** Axes of a symmetric matrix, the longest first, by Jacobi's rotations. */
function findAxes(matrix: Matrix): { axis: Triple; variance: number }[] {
  const a = matrix.map((row) => [...row]);
  const v = [0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 50; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]] as const) {
      if (a[p]![q] === 0) continue;
      const angle = Math.atan2(2 * a[p]![q]!, a[p]![p]! - a[q]![q]!) / 2;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (const rows of [a, v]) for (const row of rows) [row[p], row[q]] = [c * row[p]! + s * row[q]!, c * row[q]! - s * row[p]!];
      [a[p], a[q]] = [a[p]!.map((x, k) => c * x + s * a[q]![k]!), a[q]!.map((x, k) => c * x - s * a[p]![k]!)];
    }
  }
  const axes = [0, 1, 2].map((k) => ({ axis: v.map((row) => row[k]!) as Triple, variance: a[k]![k]! }));
  return axes.sort((one, other) => other.variance - one.variance);
}
