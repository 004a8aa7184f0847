// The panes that show slices: drawing them, and what mouse and wheel do on them.

import { ACROSS, findSteps } from "../editing/draw.js";
import { Frame, MASK_COLOUR, OTHER_COLOUR, paintSlice, traceOutline } from "./slices.js";

const ENDS = [["P", "A", "I", "S"], ["L", "R", "I", "S"], ["L", "R", "P", "A"]];
export const PLANES = ["sagittal", "coronal", "axial"];

/** One slice on a canvas of its own. */
export class Pane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} scene    what all panes show, see viewer.js
   * @param {object} act      what is done by mouse: look, draw, drawn, area, changeWindow; taken: the mouse draws now
   * @param {number} axis     axis across the plane; -1 follows the pane used last, stripped
   */
  constructor(canvas, scene, act, axis) {
    Object.assign(this, { canvas, scene, act, own: axis, camera: { zoom: 1, move: [0, 0] } });
    // Drawn by the processor: where graphics are emulated (remote desktops) outlines take 100 times as long.
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
    this.sheet = document.createElement("canvas");
    this.drag = null;
    this.pointer = null;
    this.listen();
  }

  get axis() { return this.own < 0 ? this.scene.axis : this.own; }

  get isVisible() { return this.canvas.offsetParent !== null; }

  get frame() {
    const { canvas, scene, axis, camera } = this;
    return new Frame(scene.volume, axis, canvas.width, canvas.height, camera, scene.radiological);
  }

  blank() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  draw() {
    const { canvas, scene } = this, ratio = devicePixelRatio || 1;
    if (!this.isVisible) return;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this.blank();
    if (!scene.mask) return; // the scan is read first
    const { pen, frame, axis } = this, index = scene.cross[axis], stripped = this.own < 0;
    const hidden = scene.hidden && !stripped;
    const image = paintSlice(hidden ? { ...scene, fill: 0 } : scene, axis, index, stripped);
    [this.sheet.width, this.sheet.height] = [image.width, image.height];
    this.sheet.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
    pen.setTransform(frame.matrix);
    pen.imageSmoothingQuality = "high";
    pen.imageSmoothingEnabled = frame.scale * Math.min(frame.du, frame.dv) < 6;
    pen.drawImage(this.sheet, 0, 0);
    pen.resetTransform();
    if (!stripped && !hidden) this.drawOutlines(pen, frame, axis, index, ratio);
    if (scene.crosshair) this.drawCross(pen, frame, axis, ratio);
    if (!stripped) this.drawCursor(pen, frame, axis, ratio);
    this.drawLabels(pen, axis, index, ratio, stripped);
  }

  drawOutlines(pen, frame, axis, index, ratio) {
    const { scene } = this, stroke = (mask, colour, width) => {
      const path = new Path2D();
      path.addPath(traceOutline(mask, scene.volume, axis, index), frame.matrix);
      pen.strokeStyle = `rgb(${colour})`;
      pen.lineWidth = width * ratio;
      pen.stroke(path);
    };
    if (scene.other && scene.compare) stroke(scene.other, OTHER_COLOUR, 1.2);
    if (scene.outline) stroke(scene.mask, MASK_COLOUR, 1.4);
  }

  drawCross(pen, frame, axis, ratio) {
    const [right, up] = ACROSS[axis], [x, y] = frame.toCanvas(this.scene.cross[right], this.scene.cross[up]);
    pen.strokeStyle = "rgba(120, 170, 255, .65)";
    pen.lineWidth = ratio;
    pen.beginPath();
    pen.moveTo(x, 0); pen.lineTo(x, this.canvas.height);
    pen.moveTo(0, y); pen.lineTo(this.canvas.width, y);
    pen.stroke();
  }

  // The brush where it would draw, and the line that is being drawn around an area.
  drawCursor(pen, frame, axis, ratio) {
    const { scene, drag, pointer } = this, byKey = scene.pen && axis === scene.axis, here = ACROSS[axis].map((a) => scene.cross[a]);
    const line = byKey ? scene.pen.corners.length && [...scene.pen.corners, here] : drag?.line;
    const [x, y] = byKey ? frame.toCanvas(...here) : pointer ? [pointer.x, pointer.y] : [];
    pen.strokeStyle = "#fff";
    pen.lineWidth = ratio;
    pen.beginPath();
    if (line) for (const [u, v] of line) pen.lineTo(...frame.toCanvas(u, v));
    else if (x !== undefined && scene.isBrush) {
      const radius = Math.max(scene.radius * frame.scale, 0.5 * frame.scale * Math.min(frame.du, frame.dv));
      pen.arc(x, y, radius, 0, 2 * Math.PI);
    }
    if (byKey && scene.pen.isDown) pen.lineWidth = 2 * ratio;
    pen.stroke();
  }

  drawLabels(pen, axis, index, ratio, stripped) {
    const { canvas, scene } = this, size = 13 * ratio, pad = 6 * ratio, ends = [...ENDS[axis]];
    if (scene.radiological && axis !== 0) [ends[0], ends[1]] = [ends[1], ends[0]];
    const mm = scene.toMm(axis), label = `${PLANES[axis]} ${index + 1}/${scene.volume.shape[axis]}${mm}${stripped ? ", brain" : ""}`;
    pen.font = `${size}px system-ui, sans-serif`;
    const write = (text, x, y, align, base, colour = "#e8eaed") => {
      Object.assign(pen, { textAlign: align, textBaseline: base, lineWidth: 3 * ratio, strokeStyle: "#000", fillStyle: colour });
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    };
    write(ends[0], pad, canvas.height / 2, "left", "middle");
    write(ends[1], canvas.width - pad, canvas.height / 2, "right", "middle");
    write(ends[3], canvas.width / 2, pad, "center", "top");
    write(ends[2], canvas.width / 2, canvas.height - pad, "center", "bottom");
    canvas.setAttribute("aria-label", `${label}${scene.tool === "look" ? "" : `, ${scene.tool}`}`);
    write(label, pad, pad, "left", "top", stripped || axis !== scene.axis ? "#9aa1ab" : "#fff"); // keys act on the bright one
  }

  // --- by mouse

  place(event) {
    const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  // Voxel under the mouse, (x, y, z); along the axis across the plane that of the slice.
  toVoxel({ x, y }) {
    const [right, up] = ACROSS[this.axis], flat = this.frame.toVoxel(x, y), voxel = [...this.scene.cross];
    [voxel[right], voxel[up]] = flat;
    return voxel;
  }

  listen() {
    const { canvas } = this, on = (name, act) => canvas.addEventListener(name, (event) => { if (this.scene.mask) act(event); });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", () => this.release());
    on("pointercancel", () => this.cancel());
    on("pointerleave", () => { this.pointer = null; this.draw(); });
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", () => this.reset());
    canvas.addEventListener("wheel", (event) => {
      if (!this.scene.mask) return;
      event.preventDefault();
      this.act.taken();
      if (event.ctrlKey || event.metaKey) this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, this.place(event));
      else this.act.step(this.axis, event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
  }

  press(event) {
    event.preventDefault();
    this.act.taken();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.scene.axis = this.axis;
    const at = this.place(event), voxel = this.toVoxel(at), stripped = this.own < 0;
    const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : stripped ? "look" : this.scene.tool;
    this.drag = { kind, at, voxel };
    if (kind === "fill" || kind === "cut") this.drag.line = [this.flat(voxel)];
    else this.follow(at, voxel);
  }

  move(event) {
    this.pointer = this.place(event);
    if (!this.scene.pen?.isDown) this.scene.pen = null; // the mouse is the pen
    const voxel = this.toVoxel(this.pointer);
    if (this.drag) this.follow(this.pointer, voxel);
    else this.draw();
    this.act.point(voxel);
  }

  flat(voxel) {
    return ACROSS[this.axis].map((axis) => voxel[axis]);
  }

  follow(at, voxel) {
    const { drag } = this, before = drag.at;
    if (drag.line) drag.line.push(this.flat(voxel));
    else if (drag.kind === "look") this.act.look(voxel);
    else if (drag.kind === "window") this.act.changeWindow(at.x - before.x, before.y - at.y);
    else if (drag.kind === "pan") this.camera.move = this.camera.move.map((v, i) => v + [at.x - before.x, at.y - before.y][i]);
    else this.act.draw(drag.voxel, voxel, this.axis);
    Object.assign(drag, { at, voxel });
    if (drag.line || drag.kind === "pan") this.draw();
  }

  release() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (drag.line) this.act.area(this.axis, drag.line);
    else if (drag.kind === "brush" || drag.kind === "eraser") this.act.drawn(this.axis);
    this.draw();
  }

  /** End a drag that the mouse has not: a stroke stays as it is, an area is dropped. */
  cancel() {
    if (this.drag?.line) this.drag = null;
    this.release();
  }

  zoom(factor, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const { camera, canvas } = this, zoom = Math.min(Math.max(camera.zoom * factor, 0.5), 20), by = zoom / camera.zoom;
    camera.move = [[at.x, canvas.width], [at.y, canvas.height]].map(([here, side], i) => (here - side / 2) * (1 - by) + camera.move[i] * by);
    camera.zoom = zoom;
    this.draw();
  }

  reset() {
    this.camera = { zoom: 1, move: [0, 0] };
    this.draw();
  }
}

/** Intensity of a voxel, null outside of the field. */
export function readVoxel(volume, voxel) {
  const at = voxel.map(Math.round);
  if (at.some((v, a) => v < 0 || v >= volume.shape[a])) return null;
  const steps = findSteps(volume);
  return volume.data[at[0] + at[1] * steps[1] + at[2] * steps[2]] * volume.slope + volume.inter;
}
