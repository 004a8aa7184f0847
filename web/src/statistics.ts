/** Sums and percentiles as numpy takes them. */

/** Percentiles by linear interpolation, of values that may be sorted in place. */
export function percentilesInPlace(values: Float32Array, wanted: readonly number[]): number[] {
  values.sort();
  return wanted.map((percent) => {
    const place = (percent / 100) * (values.length - 1);
    const below = Math.floor(place);
    const low = values[below]!;
    const high = values[Math.min(below + 1, values.length - 1)]!;
    return low + (high - low) * (place - below);
  });
}

/** Percentiles of values that stay as they are. */
export function percentiles(values: ArrayLike<number>, wanted: readonly number[]): number[] {
  return percentilesInPlace(Float32Array.from(values), wanted);
}

export function median(values: ArrayLike<number>): number {
  return percentiles(values, [50])[0]!;
}

/** Python's rounding: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** To so many significant digits, as Python's `float(f"{value:.4g}")`. */
export function toDigits(value: number, digits: number): number {
  return Number(value.toPrecision(digits));
}

/** Voxels of a mask. */
export function countVoxels({ values }: { values: Uint8Array }): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i]) count++;
  return count;
}

/** A number as Python's format `g` writes it, with so many digits at most. */
export function toGeneral(value: number, digits = 6): string {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e") as [string, string];
  if (Number(exponent) >= -4 && Number(exponent) < digits) return String(Number(value.toPrecision(digits)));
  return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

/** A number as Python shows it. */
export function toRepr(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return value.toExponential().replace(/([+-])(\d)$/, "$10$2");
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
