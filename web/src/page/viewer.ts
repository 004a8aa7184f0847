/** The scan on the screen, with its mask as NiiVue's drawing, which sliders remake and a hand mends. */

import { MULTIPLANAR_TYPE, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";

import type { Triple } from "../image/affine";
import type { Shown } from "../worker/protocol";

const ORANGE = [255, 107, 38, 255];
const MIN_OPACITY = 0.004; // below it NiiVue draws no outline either
export const UNDOS = 40;
export const VIEWS = ["multiplanar", "axial", "coronal", "sagittal", "render"] as const;
export type ViewName = (typeof VIEWS)[number];
export const TOOLS = ["look", "brush", "eraser"] as const;
export type Tool = (typeof TOOLS)[number];

const SLICES: Record<ViewName, SLICE_TYPE> = {
  multiplanar: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};

/** NiiVue's number of the plane that a brush is flat in; the axial one where there are several. */
const PLANES: Record<ViewName, number> = { multiplanar: 0, axial: 0, coronal: 1, sagittal: 2, render: 0 };

export class Viewer {
  private nv: Niivue | null = null;
  private shown: Shown | null = null;
  private hidden: Uint8Array = new Uint8Array(0);
  private readonly chosen = { view: "multiplanar" as ViewName, tool: "look" as Tool, size: 5, opacity: 0.35 };
  /** Called when a hand has drawn, or undone. */
  onDrawing: (action: "draw" | "undo") => void = () => undefined;

  constructor(private readonly canvas: HTMLCanvasElement) {}

  /** Whether the browser can show scans at all. */
  static get isPossible(): boolean {
    return document.createElement("canvas").getContext("webgl2") !== null;
  }

  /** Show nothing: what was there belongs to another scan. */
  blank(): void {
    this.canvas.style.visibility = "hidden";
  }

  /** Show a scan without a mask; false if the browser cannot. */
  async show(shown: Shown): Promise<boolean> {
    this.shown = shown;
    this.hidden = new Uint8Array(0);
    try {
      this.nv ??= await this.start();
    } catch {
      this.nv = null;
    }
    if (!this.nv) return false;
    const { nv } = this;
    nv.opts.multiplanarShowRender = SHOW_RENDER.NEVER; // slow without a GPU, and useless without a mask
    nv.opts.sliceType = SLICES[this.chosen.view];
    if (nv.volumes.length) nv.closeDrawing();
    for (const volume of [...nv.volumes]) nv.removeVolume(volume);
    await nv.loadFromArrayBuffer(shown.file, "scan.nii");
    this.choose(this.chosen.tool);
    this.canvas.style.visibility = "visible";
    return true;
  }

  private async start(): Promise<Niivue | null> {
    if (!Viewer.isPossible) return null;
    const nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.35, 0.6, 1, 0.55],
      crosshairWidth: 0.8,
      crosshairWidthUnit: "mm",
      dragAndDropEnabled: false,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarPadPixels: 4,
      isColorbar: false,
      showAllOrientationMarkers: true,
      maxDrawUndoBitmaps: UNDOS + 1,
      loadingText: "",
      logLevel: "error",
      show3Dcrosshair: false,
      clipPlaneHotKey: "",
      viewModeHotKey: "",
      cycleClipPlaneHotKey: "",
      tileMargin: 0,
    });
    await nv.attachToCanvas(this.canvas);
    const lut = nv.drawLut.lut.map((value, i) => (i >> 2 === 1 ? ORANGE[i & 3]! : value));
    nv.drawLut = { ...nv.drawLut, lut };
    nv.drawRimOpacity = 1;
    nv.drawOpacity = this.chosen.opacity;
    nv.opts.penSize = this.chosen.size;
    nv.onDrawingChanged = (action) => {
      if (action === "draw" || action === "undo") this.onDrawing(action);
    };
    return nv;
  }

  /** The mask as it is now, axes nearest to RAS+. */
  get mask(): Uint8Array {
    return (this.nv ? this.nv.drawBitmap : this.hidden) ?? new Uint8Array(0);
  }

  /** Take a mask; `isFirst` begins anew, so that undo does not go behind it. */
  setMask(mask: Uint8Array, isFirst: boolean): void {
    this.hidden = mask;
    const { nv } = this;
    if (!nv) return;
    if (isFirst) {
      nv.drawClearAllUndoBitmaps();
      nv.createEmptyDrawing(); // makes room on the graphics card
      nv.opts.multiplanarShowRender = SHOW_RENDER.ALWAYS;
      this.goToMiddle(nv);
    }
    nv.drawBitmap = mask;
    nv.drawAddUndoBitmap();
    nv.refreshDrawing(true);
  }

  countMl(): number {
    let count = 0;
    for (const voxel of this.mask) if (voxel) count++;
    return count * (this.shown?.voxelMl ?? 0);
  }

  undo(): void {
    this.nv?.drawUndo();
  }

  choose(tool: Tool): void {
    this.chosen.tool = tool;
    if (!this.nv) return;
    this.nv.opts.penValue = tool === "brush" ? 1 : 0;
    this.nv.opts.isFilledPen = false;
    this.nv.opts.drawingEnabled = tool !== "look";
    this.canvas.style.cursor = tool === "look" ? "default" : "crosshair";
  }

  /** Move the cross-hair by voxels to the right, to the front and up. */
  step(by: Triple): void {
    this.nv?.moveCrosshairInVox(...by);
  }

  /** Draw at the cross-hair, as a click there does. */
  drawHere(): void {
    const { nv } = this;
    if (!nv || this.chosen.tool === "look") return;
    const [x, y, z] = nv.frac2vox(nv.scene.crosshairPos);
    nv.drawPenAxCorSag = PLANES[this.chosen.view];
    nv.drawPt(x!, y!, z!, nv.opts.penValue);
    nv.drawPenAxCorSag = -1;
    nv.drawAddUndoBitmap();
    nv.refreshDrawing(true);
    this.onDrawing("draw");
  }

  setPenSize(size: number): void {
    this.chosen.size = size;
    if (this.nv) this.nv.opts.penSize = size;
  }

  look(view: ViewName): void {
    this.chosen.view = view;
    this.nv?.setSliceType(SLICES[view]);
  }

  /** Opacity of the mask's inside; its outline is always drawn. */
  setOpacity(inside: number): void {
    this.chosen.opacity = inside;
    this.drawMask(Math.max(inside, MIN_OPACITY), 1);
  }

  /** Hide the mask with its outline, or show it again. */
  setHidden(isHidden: boolean): void {
    this.drawMask(isHidden ? 0 : Math.max(this.chosen.opacity, MIN_OPACITY), isHidden ? 0 : 1);
  }

  private drawMask(inside: number, outline: number): void {
    if (!this.nv) return;
    this.nv.drawRimOpacity = outline;
    this.nv.setDrawOpacity(inside);
  }

  /** The middle of the mask, where the slices are shown at first. */
  private goToMiddle(nv: Niivue): void {
    const [nx, ny, nz] = this.shown!.shape;
    const sum: [number, number, number] = [0, 0, 0];
    let count = 0;
    for (let z = 0, i = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx; x++) {
          if (!this.hidden[i++]) continue;
          count++;
          sum[0] += x;
          sum[1] += y;
          sum[2] += z;
        }
      }
    }
    if (!count) return;
    const place = sum.map((total, axis) => (total / count + 0.5) / this.shown!.shape[axis]!);
    nv.scene.crosshairPos = place as [number, number, number];
  }
}
