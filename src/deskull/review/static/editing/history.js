// Undo and redo of changes to a mask: of each only the voxels that changed are kept, since a
// voxel is either in the mask or not. Pure, as `draw.js`.

/** Steps that can be undone. */
export const MAX_STEPS = 200;

/** Indices that all steps together may hold: 4 bytes each. */
export const MAX_INDICES = 40_000_000;

/** @template T what the caller remembers with each state of the mask */
export class History {
  /** @param {T} state state at the start */
  constructor(state) {
    this.start = { state };
    this.past = [];
    this.future = [];
  }

  /** The step that the mask is at: as long as it is the same one, so is the mask. */
  get step() {
    return this.past.at(-1) ?? this.start;
  }

  /** State of the mask as it is now. @returns {T} */
  get state() {
    return this.step.state;
  }

  /** Remember a change that was made. @param {Uint32Array} indices @param {T} state */
  push(indices, state) {
    this.past.push({ indices, state });
    this.future = [];
    let total = this.past.reduce((sum, step) => sum + step.indices.length, 0);
    while (this.past.length > 1 && (this.past.length > MAX_STEPS || total > MAX_INDICES)) {
      this.start = this.past.shift();
      total -= this.start.indices.length;
      this.start.indices = null; // it cannot be undone any more
    }
  }

  /** Take the last change back. @param {Uint8Array} mask @returns {boolean} whether there was one */
  undo(mask) {
    return move(this.past, this.future, mask);
  }

  /** Make the change again that was taken back last. @param {Uint8Array} mask @returns {boolean} */
  redo(mask) {
    return move(this.future, this.past, mask);
  }
}

function move(from, to, mask) {
  const step = from.pop();
  if (!step) return false;
  for (const index of step.indices) mask[index] ^= 1;
  to.push(step);
  return true;
}

/** Join the changes of one stroke: a voxel changed twice is as it was. @param {Uint32Array[]} parts */
export function joinChanges(parts) {
  if (parts.length === 1) return parts[0];
  const odd = new Set();
  for (const part of parts) for (const index of part) if (!odd.delete(index)) odd.add(index);
  return Uint32Array.from(odd);
}
