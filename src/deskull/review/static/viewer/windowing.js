// The intensities that are drawn black and white: sliders, presets, right drag.

import { findPercentiles } from "./slices.js";

const $ = (id) => document.getElementById(id);
const PRESETS = { brain: [0.02, 0.995, true], bright: [0.02, 0.8, true], head: [0.02, 0.995, false], full: [0, 1, false] }; // shares, of the mask

export class Windowing {
  /** @param {object} scene volume and mask are read; the window is changed @param {() => void} redraw */
  constructor(scene, redraw) {
    Object.assign(this, { scene, redraw });
    $("black").addEventListener("input", () => this.set(Number($("black").value), scene.window[1]));
    $("white").addEventListener("input", () => this.set(scene.window[0], Number($("white").value)));
    for (const button of $("presets").children) button.addEventListener("click", () => { if (scene.mask) this.choose(button.dataset.preset); });
  }

  /** Begin with a scan that was opened. */
  start() {
    const [low, high] = findPercentiles(this.scene.volume, [0, 1]);
    for (const id of ["black", "white"]) Object.assign($(id), { min: low, max: high, step: (high - low) / 500 || 1 });
    this.choose("brain");
  }

  set(low, high) {
    const { scene } = this;
    scene.window = [low, Math.max(high, low + scene.volume.slope)];
    [$("black").value, $("white").value] = scene.window;
    const step = 10 ** Math.floor(Math.log10(scene.window[1] - scene.window[0]) - 2);
    $("window-value").textContent = scene.window.map((v) => Number((Math.round(v / step) * step).toPrecision(4))).join(" to ");
    this.redraw();
  }

  choose(name) {
    const { scene } = this, [dark, light, inMask] = PRESETS[name], mask = inMask && scene.mask.includes(1) ? scene.mask : null;
    this.set(findPercentiles(scene.volume, [dark])[0], findPercentiles(scene.volume, [light], mask)[0]);
  }

  /** Move the window by a drag: to the right softer, up brighter. */
  change(right, up) {
    const [low, high] = this.scene.window, step = (high - low) / 400, middle = (low + high) / 2 - up * step;
    const half = Math.max(((high - low) / 2) * (1 + right / 300), step);
    this.set(middle - half, middle + half);
  }
}
