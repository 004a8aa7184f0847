// What a hand does to the mask: strokes, areas, interpolation, undo and redo.

import { drawStroke, fillArea } from "../editing/draw.js";
import { History, joinChanges } from "../editing/history.js";
import { interpolateSlices } from "../editing/shape.js";

export class Drawing {
  /**
   * @param {object} scene  mask, volume, cross, tool, radius and ball are read; the mask is changed
   * @param {object} page   readSliders, noteChange(byHand), noteNone and redraw
   */
  constructor(scene, page) {
    Object.assign(this, { scene, page });
    this.start();
  }

  /** Forget what was drawn on the scan before. */
  start() {
    this.parts = []; // of the stroke that is being drawn
    this.drawn = []; // the last two slices of one plane that were drawn on
    this.history = new History(this.page.readSliders());
  }

  /** Remember a change that was made. @param {Uint32Array} indices */
  change(indices, byHand = true) {
    if (!indices.length) return this.page.noteNone();
    this.history.push(indices, this.page.readSliders());
    this.page.noteChange(byHand);
  }

  paint(from, to, axis) {
    const { mask, volume, radius, ball, tool } = this.scene;
    this.parts.push(drawStroke(mask, volume, from, to, radius, tool === "brush" ? 1 : 0, ball ? -1 : axis));
    this.page.redraw();
  }

  finishStroke(axis) {
    const parts = this.parts;
    this.parts = [];
    this.notePainted(axis);
    this.change(joinChanges(parts));
  }

  paintArea(axis, line) {
    const { mask, volume, cross, tool } = this.scene;
    this.notePainted(axis);
    this.change(fillArea(mask, volume, axis, cross[axis], line, tool === "fill" ? 1 : 0));
  }

  notePainted(axis) {
    const slice = this.scene.cross[axis];
    if (this.drawn[0]?.axis !== axis) this.drawn = [];
    this.drawn = [...this.drawn.filter((one) => one.slice !== slice), { axis, slice }].slice(-2);
  }

  /** Make the slices between the last two; null if there are not two. */
  interpolate() {
    if (this.drawn.length < 2) return null;
    const [{ axis, slice: first }, { slice: last }] = this.drawn;
    this.change(interpolateSlices(this.scene.mask, this.scene.volume, axis, first, last));
    return { axis, first, last, count: Math.max(Math.abs(last - first) - 1, 0) };
  }

  /** Undo or redo; gives what the sliders said then, or null if there is nothing to. */
  travel(back) {
    const { history, scene } = this;
    return (back ? history.undo(scene.mask) : history.redo(scene.mask)) ? history.state : null;
  }
}
