/** The modules of `deskull view` that the page uses too: `src/deskull/review/static`. */

declare module "@review/editing/draw.js" {
  export interface Grid {
    shape: [number, number, number];
    size: [number, number, number];
  }
  export function drawStroke(
    mask: Uint8Array,
    grid: Grid,
    from: readonly number[],
    to: readonly number[],
    radius: number,
    value: 0 | 1,
    axis?: number,
  ): Uint32Array;
}

declare module "@review/editing/shape.js" {
  import type { Grid } from "@review/editing/draw.js";
  export function replaceMask(mask: Uint8Array, wanted: Uint8Array): Uint32Array;
  export function keepLargestPiece(mask: Uint8Array, grid: Grid): Uint32Array;
  export function fillHoles(mask: Uint8Array, grid: Grid): Uint32Array;
  export function smoothMask(mask: Uint8Array, grid: Grid): Uint32Array;
}

declare module "@review/viewer/slices.js" {
  import type { Grid } from "@review/editing/draw.js";
  export interface Scan extends Grid {
    data: Int16Array;
    slope: number;
    inter: number;
  }
  export function readScan(buffer: ArrayBuffer): Scan;
  export function findMiddle(grid: Grid, mask: Uint8Array): number[];
}

declare module "@review/viewer/panes.js" {
  import type { Scan } from "@review/viewer/slices.js";
  export type Tool = "look" | "brush" | "eraser" | "fill" | "cut";
  /** What all panes show. */
  export interface Scene {
    volume: Scan | null;
    mask: Uint8Array | null;
    cross: number[];
    axis: number;
    window: [number, number];
    /** Opacity of the mask's inside. */
    fill: number;
    outline: boolean;
    crosshair: boolean;
    hidden: boolean;
    tool: Tool;
    /** Of the brush, in mm. */
    radius: number;
    ball: boolean;
    readonly isBrush: boolean;
    toMm: (axis: number) => string;
  }
  export interface Hand {
    draw: (from: number[], to: number[], axis: number) => void;
    drawn: (axis: number) => void;
    area: (axis: number, line: number[][]) => void;
    look: (voxel: number[]) => void;
  }
  export interface Mouse extends Hand {
    point: (voxel: number[]) => void;
    step: (axis: number, by: number) => void;
    changeWindow: (right: number, up: number) => void;
    taken: () => void;
  }
  export const PLANES: readonly string[];
  export class Pane {
    constructor(canvas: HTMLCanvasElement, scene: Scene, act: Mouse, axis: number);
    readonly canvas: HTMLCanvasElement;
    readonly own: number;
    draw(): void;
    blank(): void;
    /** End a drag that the mouse has not. */
    cancel(): void;
    zoom(factor: number): void;
    reset(): void;
  }
  export function readVoxel(volume: Scan, voxel: number[]): number | null;
}

declare module "@review/viewer/drawing.js" {
  import type { Scene } from "@review/viewer/panes.js";
  /** What a hand does to the mask; `State` is remembered with each change. */
  export class Drawing<State> {
    constructor(
      scene: Scene,
      page: { readSliders: () => State; noteChange: (byHand: boolean) => void; noteNone: () => void; redraw: () => void },
    );
    readonly history: { past: unknown[]; future: unknown[] };
    readonly drawn: unknown[];
    start(): void;
    change(indices: Uint32Array, byHand?: boolean): void;
    paint(from: number[], to: number[], axis: number): void;
    finishStroke(axis: number): void;
    paintArea(axis: number, line: number[][]): void;
    interpolate(): { axis: number; first: number; last: number; count: number } | null;
    travel(back: boolean): State | null;
  }
}

declare module "@review/viewer/keyboard.js" {
  import type { Hand, Scene } from "@review/viewer/panes.js";
  export class Pen {
    constructor(scene: Scene, act: Hand & { say: (words: string, kind?: "" | "bad") => void });
    forget(): void;
    lift(): void;
  }
  type Keys = Record<string, () => void>;
  export function listenToKeys(keys: Keys, always: Keys, pen: Pen, isReady: () => boolean, adopt: () => void): void;
}

declare module "@review/viewer/files.js" {
  export function offer(blob: Blob, name: string): void;
}

declare module "@review/viewer/windowing.js" {
  import type { Scene } from "@review/viewer/panes.js";
  export class Windowing {
    constructor(scene: Scene, redraw: () => void);
    start(): void;
    choose(preset: string): void;
    change(right: number, up: number): void;
  }
}

declare module "@review/viewer/brain3d.js" {
  export function showBrain(
    canvas: HTMLCanvasElement,
    file: ArrayBuffer,
    mask: Uint8Array,
    depth: number,
    load: () => Promise<object>,
  ): Promise<void>;
  export function clip(depth: number): void;
}
