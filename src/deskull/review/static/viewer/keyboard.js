// Working by keyboard. A key that a field or button needs is left to it. In drawing the crosshair is
// the pen: brush and eraser draw while it is down; fill and cut take the places where it is put down
// as the corners of their area.

import { ACROSS } from "../editing/draw.js";

const $ = (id) => document.getElementById(id);
const FAR_MM = 10; // a large step
const WAY = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Pen {
  /**
   * @param {object} scene  cross, axis, tool, volume and radiological are read; `pen` is what the panes show of this
   * @param {object} act    look, draw, drawn, area: as for a pane; say
   */
  constructor(scene, act) {
    Object.assign(this, { scene, act });
    this.forget();
  }

  /** Show no pen: the mouse draws, or another scan is shown. */
  forget() {
    this.scene.pen = null; // else { isDown, corners }: corners of an area in voxels, (right, up)
  }

  get isDown() { return Boolean(this.scene.pen?.isDown); }

  /** Move by one voxel, or by 10 mm. @param {string} key an arrow key @param {boolean} isFar */
  move(key, isFar) {
    const { scene } = this, { axis } = scene, [right, up] = ACROSS[axis], from = [...scene.cross], to = [...from];
    const step = (a) => (isFar ? Math.max(1, Math.round(FAR_MM / scene.volume.size[a])) : 1);
    to[right] += WAY[key][0] * step(right) * (scene.radiological && axis !== 0 ? -1 : 1);
    to[up] += WAY[key][1] * step(up);
    scene.pen ??= { isDown: false, corners: [] };
    this.act.look(to);
    if (this.isDown && scene.isBrush) this.act.draw(from, scene.cross, axis);
  }

  /** Put the pen down or lift it; set a corner, or close the area at the last one. */
  press() {
    const { scene } = this;
    if (scene.tool === "look") return this.act.say("Choose brush, eraser, fill or cut first: b e g x.", "bad");
    if (scene.isBrush) return this.isDown ? this.lift() : this.lower();
    this.setCorner();
  }

  lower() {
    const { scene } = this;
    scene.pen = { isDown: true, corners: [] };
    this.act.draw(scene.cross, scene.cross, scene.axis);
    this.act.say(`The ${scene.tool} is down: shift and arrows draw, Enter lifts it.`);
  }

  setCorner() {
    const { scene } = this, here = ACROSS[scene.axis].map((a) => scene.cross[a]);
    scene.pen ??= { isDown: false, corners: [] };
    const { corners } = scene.pen, isLast = corners.at(-1)?.every((v, i) => v === here[i]);
    if (isLast && corners.length > 2) {
      scene.pen = { isDown: false, corners: [] };
      return this.act.area(scene.axis, corners);
    }
    if (!isLast) corners.push(here);
    scene.pen.isDown = true;
    this.act.look(scene.cross);
    this.act.say(`Corner ${corners.length}. Enter sets the next one, Enter twice closes the area, Escape drops it.`);
  }

  /** End a stroke, and drop an area that is not closed. */
  lift() {
    const isStroke = this.isDown && this.scene.isBrush, wasDown = this.isDown;
    if (this.scene.pen) this.scene.pen = { isDown: false, corners: [] };
    if (isStroke) this.act.drawn(this.scene.axis);
    else if (wasDown) this.act.look(this.scene.cross);
  }
}

const WITH_COMMAND = ["z", "Z", "y", "s"]; // ctrl or cmd changes nothing about these

/**
 * Let keys act.
 * @param {object} keys      what each does, by its name
 * @param {object} always    the same, of those that act while no scan is shown
 * @param {object} pen       by keyboard: move, press and lift
 * @param {() => boolean} isReady  whether a scan is shown
 * @param {() => void} adopt  called before a key acts on a scan
 */
export function listenToKeys(keys, always, pen, isReady, adopt) {
  const find = (event) => {
    const { key } = event, command = event.ctrlKey || event.metaKey;
    if (event.shiftKey && key.startsWith("Arrow")) return isReady() && (() => pen.move(key, command));
    if (key === "Enter") return isReady() && (() => pen.press());
    if (command && !WITH_COMMAND.includes(key)) return null;
    const act = always[key] ?? (isReady() ? keys[key] : null);
    return act && (() => { pen.lift(); act(); });
  };
  addEventListener("keydown", (event) => {
    if (event.altKey || isNeeded(event) || ($("keys").open && event.key !== "?")) return;
    const act = find(event);
    if (!act) return;
    event.preventDefault();
    if (isReady()) adopt();
    act();
  }, true);
}

// Whether what has the focus needs the key itself.
function isNeeded({ key, target }) {
  if (target.matches("input:not([type=range], [type=checkbox]), select")) return true;
  if (target.matches("input[type=range]")) return /^(Arrow|Page|Home|End)/.test(key);
  return target.matches("button, summary, input, a") && (key === " " || key === "Enter");
}
