/** Connected pieces of masks, through voxel faces. */

import { emptyMask, Field } from "../image/field";

/** Labels 1, 2, ... of each piece in the order in which they are met, and how many voxels each has. */
export function label(mask: Field<Uint8Array>): { labels: Int32Array; sizes: number[] } {
  const values = mask.flat();
  const [nx, ny, nz] = mask.shape;
  const layer = nx * ny;
  const labels = new Int32Array(values.length);
  const sizes = [0];
  let stack = new Int32Array(1024);
  for (let seed = 0; seed < values.length; seed++) {
    if (!values[seed] || labels[seed]) continue;
    const piece = sizes.length;
    let count = 0;
    let top = 0;
    stack[top++] = seed;
    labels[seed] = piece;
    while (top > 0) {
      const voxel = stack[--top]!;
      count++;
      if (top + 6 > stack.length) {
        const larger = new Int32Array(stack.length * 2);
        larger.set(stack);
        stack = larger;
      }
      const x = voxel % nx;
      const rest = (voxel - x) / nx;
      const y = rest % ny;
      const z = (rest - y) / ny;
      const visit = (next: number) => {
        if (values[next] && !labels[next]) {
          labels[next] = piece;
          stack[top++] = next;
        }
      };
      if (x > 0) visit(voxel - 1);
      if (x < nx - 1) visit(voxel + 1);
      if (y > 0) visit(voxel - nx);
      if (y < ny - 1) visit(voxel + nx);
      if (z > 0) visit(voxel - layer);
      if (z < nz - 1) visit(voxel + layer);
    }
    sizes.push(count);
  }
  return { labels, sizes };
}

/** The largest piece; of two equal ones the first. */
export function keepLargest(mask: Field<Uint8Array>): Field<Uint8Array> {
  const { labels, sizes } = label(mask);
  const largest = emptyMask(mask.shape);
  if (sizes.length === 1) return largest;
  const most = Math.max(...sizes);
  const piece = sizes.indexOf(most);
  for (let i = 0; i < labels.length; i++) largest.values[i] = labels[i] === piece ? 1 : 0;
  return largest;
}

/** Fill what no path through voxel faces leads out of; what reaches the array's edge is no hole. */
export function fillHoles(mask: Field<Uint8Array>): Field<Uint8Array> {
  const values = mask.flat();
  const [nx, ny, nz] = mask.shape;
  const background = new Field(values.map((value) => (value ? 0 : 1)), mask.shape);
  const { labels, sizes } = label(background);
  const open = new Uint8Array(sizes.length);
  const reach = (x: number, y: number, z: number) => {
    open[labels[x + nx * (y + ny * z)]!] = 1;
  };
  for (let z = 0; z < nz; z++) for (let y = 0; y < ny; y++) [0, nx - 1].forEach((x) => reach(x, y, z));
  for (let z = 0; z < nz; z++) for (let x = 0; x < nx; x++) [0, ny - 1].forEach((y) => reach(x, y, z));
  for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) [0, nz - 1].forEach((z) => reach(x, y, z));
  const filled = Uint8Array.from(labels, (piece) => (piece > 0 && open[piece] ? 0 : 1));
  return new Field(filled, mask.shape);
}
