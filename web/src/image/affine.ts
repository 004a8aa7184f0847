/** Arithmetic of 4 x 4 affines and their 3 x 3 linear parts, as rows of numbers. */

export type Triple = [number, number, number];
export type Matrix = number[][];

export function multiply(a: Matrix, b: Matrix): Matrix {
  return a.map((row) => b[0]!.map((_, j) => row.reduce((sum, value, k) => sum + value * b[k]![j]!, 0)));
}

export function transpose(matrix: Matrix): Matrix {
  return matrix[0]!.map((_, j) => matrix.map((row) => row[j]!));
}

/** The 3 x 3 part that turns, scales and shears. */
export function linear(affine: Matrix): Matrix {
  return affine.slice(0, 3).map((row) => row.slice(0, 3));
}

export function column(matrix: Matrix, j: number): Triple {
  return [matrix[0]![j]!, matrix[1]![j]!, matrix[2]![j]!];
}

export function length(vector: readonly number[]): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
}

export function determinant(m: Matrix): number {
  const [[a, b, c], [d, e, f], [g, h, i]] = m as [Triple, Triple, Triple];
  return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
}

/** Inverse of a 3 x 3 matrix. */
export function invert(m: Matrix): Matrix {
  const [[a, b, c], [d, e, f], [g, h, i]] = m as [Triple, Triple, Triple];
  const whole = determinant(m);
  const cofactors = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  return cofactors.map((row) => row.map((value) => value / whole));
}

export function invertAffine(affine: Matrix): Matrix {
  const inverse = invert(linear(affine));
  const origin = transform(inverse, column(affine, 3)).map((value) => -value);
  return makeAffine(inverse, origin as Triple);
}

export function makeAffine(matrix: Matrix, origin: readonly number[]): Matrix {
  return [...matrix.map((row, k) => [...row.slice(0, 3), origin[k]!]), [0, 0, 0, 1]];
}

/** A point by a 3 x 3 matrix, or by an affine. */
export function transform(matrix: Matrix, point: readonly number[]): Triple {
  const moved = [0, 1, 2].map((k) => {
    const row = matrix[k]!;
    return row[0]! * point[0]! + row[1]! * point[1]! + row[2]! * point[2]! + (row[3] ?? 0);
  });
  return moved as Triple;
}

export function diagonal(values: readonly number[]): Matrix {
  return values.map((value, i) => values.map((_, j) => (i === j ? value : 0)));
}

/** The rotation (and reflection) nearest to a 3 x 3 matrix, by Newton's iteration. */
export function nearestRotation(matrix: Matrix): Matrix {
  let rotation = matrix;
  for (let step = 0; step < 50; step++) {
    const other = transpose(invert(rotation));
    const next = rotation.map((row, i) => row.map((value, j) => (value + other[i]![j]!) / 2));
    const change = Math.max(...next.flatMap((row, i) => row.map((v, j) => Math.abs(v - rotation[i]![j]!))));
    rotation = next;
    if (change < 1e-15) break;
  }
  return rotation;
}
