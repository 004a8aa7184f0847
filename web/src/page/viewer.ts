/** The scan on the screen with its mask, which sliders make anew and a hand corrects: by the modules of `deskull view`. */

import "@review/viewer/panes.css";

import { fillHoles, keepLargestPiece, replaceMask, smoothMask } from "@review/editing/shape.js";
import { clip, showBrain } from "@review/viewer/brain3d.js";
import { Drawing } from "@review/viewer/drawing.js";
import { Pen } from "@review/viewer/keyboard.js";
import { type Hand, Pane, PLANES, readVoxel, type Scene, type Tool } from "@review/viewer/panes.js";
import { findMiddle, readScan, type Scan } from "@review/viewer/slices.js";
import { Windowing } from "@review/viewer/windowing.js";

import type { Settings } from "../settings";
import type { Shown } from "../worker/protocol";

export type { Tool };
export const VIEWS = ["all", "axial", "coronal", "sagittal", "beside", "3d"] as const;
export type ViewName = (typeof VIEWS)[number];
/** What can be done to the whole mask. */
export const SHAPINGS = { largest: keepLargestPiece, holes: fillHoles, smooth: smoothMask };
const NO_3D = "This browser cannot show the brain in 3D (it has no WebGL 2).";

/** What the viewer asks, and tells, whoever it shows a scan for. */
export interface Owner {
  isReady: () => boolean;
  /** What the sliders say: undo goes back to it together with the mask. */
  readSettings: () => Settings;
  /** A hand has changed the mask. */
  onDrawing: () => void;
  /** Undo or redo has changed the mask, to one of these settings. */
  onTravel: (settings: Settings) => void;
  onSaid: (words: string, kind: "" | "bad") => void;
}

function find<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export class Viewer {
  readonly scene: Scene = {
    volume: null,
    mask: null,
    cross: [0, 0, 0],
    axis: 2,
    window: [0, 1],
    fill: 0.2,
    outline: true,
    crosshair: true,
    hidden: false,
    tool: "look",
    radius: 4,
    ball: false,
    get isBrush() {
      return this.tool === "brush" || this.tool === "eraser";
    },
    toMm: () => "",
  };
  readonly drawing: Drawing<Settings>;
  readonly pen: Pen;
  private readonly panes: Pane[];
  private readonly windowing: Windowing;
  private shown: Shown | null = null;
  private view: ViewName = "all";
  private brain: "none" | "drawing" | "stale" = "none";

  constructor(private readonly owner: Owner) {
    const { scene } = this;
    this.drawing = new Drawing(scene, {
      readSliders: owner.readSettings,
      noteChange: (byHand) => this.noteChange(byHand),
      noteNone: () => this.noteChange(false),
      redraw: () => this.redraw(),
    });
    this.windowing = new Windowing(scene, () => this.redraw());
    const hand: Hand = {
      draw: (from, to, axis) => owner.isReady() && this.drawing.paint(from, to, axis),
      drawn: (axis) => owner.isReady() && this.drawing.finishStroke(axis),
      area: (axis, line) => owner.isReady() && this.drawing.paintArea(axis, line),
      look: (voxel) => this.goTo(voxel),
    };
    this.pen = new Pen(scene, { ...hand, say: (words, kind = "") => owner.onSaid(words, kind) });
    const mouse = {
      ...hand,
      point: (voxel: number[]) => this.point(voxel),
      step: (axis: number, by: number) => this.step(by, axis),
      changeWindow: (right: number, up: number) => this.windowing.change(right, up),
      taken: () => this.pen.lift(),
    };
    this.panes = [2, 1, 0, -1].map((axis) => new Pane(find<HTMLCanvasElement>(`pane${axis}`), scene, mouse, axis));
    new ResizeObserver(() => this.redraw()).observe(find("picture"));
  }

  redraw(): void {
    for (const pane of this.panes) pane.draw();
  }

  /** Show nothing: what was there belongs to another scan. */
  blank(): void {
    this.pen.forget();
    for (const pane of this.panes) pane.cancel();
    this.shown = this.scene.volume = this.scene.mask = null;
    for (const pane of this.panes) pane.blank();
    find("brain").style.visibility = "hidden";
    find("under").textContent = "";
  }

  /** Show a scan without a mask. */
  show(shown: Shown): void {
    this.shown = shown;
    this.scene.volume = readScan(shown.file);
    this.scene.mask = new Uint8Array(this.scene.volume.data.length);
    this.windowing.start();
    this.goToMiddle(this.scene.volume);
  }

  /** The mask as it is now, axes nearest to RAS+. */
  get mask(): Uint8Array {
    return this.scene.mask ?? new Uint8Array(0);
  }

  /** Take a mask; `isFirst` begins anew, so that undo does not go behind it. */
  setMask(mask: Uint8Array, isFirst: boolean): void {
    if (!isFirst) {
      this.pen.lift();
      this.drawing.change(replaceMask(this.scene.mask!, mask), false);
      return;
    }
    this.scene.mask = mask;
    this.drawing.start();
    this.windowing.choose("brain");
    this.goToMiddle(this.scene.volume!);
    this.showBrain();
  }

  countMl(): number {
    let count = 0;
    for (const voxel of this.mask) count += voxel;
    return count * (this.shown?.voxelMl ?? 0);
  }

  // --- changes of the mask

  private noteChange(byHand: boolean): void {
    this.redraw();
    this.showBrain();
    if (byHand) this.owner.onDrawing();
  }

  /** Undo or redo. */
  travel(back: boolean): void {
    this.pen.lift();
    const settings = this.drawing.travel(back);
    if (!settings) return;
    this.noteChange(false);
    this.owner.onTravel(settings);
  }

  shape(name: keyof typeof SHAPINGS): void {
    this.pen.lift();
    this.drawing.change(SHAPINGS[name](this.mask, this.scene.volume!));
  }

  /** Make the slices between the last two that were drawn on; in words, what came of it. */
  interpolate(): string {
    this.pen.lift();
    const made = this.drawing.interpolate();
    return made
      ? `Made the ${made.count} ${PLANES[made.axis]} slices between ${made.first + 1} and ${made.last + 1}.`
      : "Draw on two slices of one plane first, a dot in each is enough; those between them are then made.";
  }

  // --- what is looked at

  choose(tool: Tool): void {
    this.pen.lift();
    this.scene.tool = tool;
    document.body.dataset.tool = tool;
    this.redraw();
  }

  /** Let keys act on the plane that was used last. */
  focus(): void {
    this.panes.find(({ own }) => own === this.scene.axis)!.canvas.focus();
  }

  /** Keys act on the plane that has the focus; without one on that used last. */
  adoptFocus(): void {
    const focused = this.panes.find(({ canvas, own }) => own >= 0 && canvas === document.activeElement);
    if (!focused || focused.own === this.scene.axis) return;
    this.pen.lift();
    this.scene.axis = focused.own;
    this.redraw();
  }

  private goTo(voxel: number[]): void {
    const { shape } = this.scene.volume!;
    this.scene.cross = voxel.map((v, axis) => Math.min(Math.max(Math.round(v), 0), shape[axis]! - 1));
    this.redraw();
    this.point(this.scene.cross);
  }

  private point(voxel: number[]): void {
    const value = readVoxel(this.scene.volume!, voxel);
    find("under").textContent = value === null ? "" : `${voxel.map(Math.round).join(" ")}: ${Number(value.toPrecision(4))}`;
  }

  /** Go through the slices. */
  step(by: number, axis = this.scene.axis): void {
    this.scene.axis = axis;
    this.goTo(this.scene.cross.map((v, a) => (a === axis ? v + by : v)));
  }

  /** The middle of the mask, where the slices are shown at first. */
  private goToMiddle(volume: Scan): void {
    this.goTo(findMiddle(volume, this.mask));
  }

  /** Zoom the plane used last; without a factor show all of them whole again. */
  zoom(factor?: number): void {
    for (const pane of this.panes) if (!factor) pane.reset();
    if (factor) this.panes.find(({ own }) => own === this.scene.axis)!.zoom(factor);
  }

  look(view: ViewName): void {
    this.view = document.body.dataset.view = view;
    if (PLANES.includes(view)) this.scene.axis = PLANES.indexOf(view);
    for (const { canvas, own } of this.panes) canvas.classList.toggle("beside", own === this.scene.axis);
    this.redraw();
    this.showBrain();
  }

  clip(depth: number): void {
    clip(depth);
  }

  /** Draw the brain in 3D where that is looked at; once more if the mask has changed meanwhile. */
  private showBrain(): void {
    if (this.view !== "3d" || !this.shown) return;
    if (this.brain === "none") void this.drawBrain();
    else this.brain = "stale";
  }

  private async drawBrain(): Promise<void> {
    const canvas = find<HTMLCanvasElement>("brain");
    if (!document.createElement("canvas").getContext("webgl2")) {
      this.owner.onSaid(NO_3D, "bad");
      return;
    }
    do {
      this.brain = "drawing";
      const depth = Number(find<HTMLInputElement>("depth").value);
      const load = () => import("@niivue/niivue");
      await showBrain(canvas, this.shown!.file, this.mask, depth, load).catch(({ message }: Error) => this.owner.onSaid(message, "bad"));
    } while ((this.brain as string) === "stale" && this.shown);
    canvas.style.visibility = this.shown ? "visible" : "hidden";
    this.brain = "none";
  }
}
