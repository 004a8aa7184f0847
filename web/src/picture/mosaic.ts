/** A picture of one scan: slices in three planes, the mask's outline left and the brain right. */

import type { Field } from "../image/field";
import type { Grid } from "../image/grid";
import { cutSlice, findLabel, GUTTER, HALF, HEADER, makeView, MOSAIC, placeRow, type Tile, type View, WIDTH } from "./layout";

const OUTLINE_COLOUR = [255, 96, 32] as const;
const CANVAS_GREY = "rgb(24 24 24)";
const FONT = "sans-serif";

/** Draw a scan with its mask as PNG. */
export async function encodePicture(data: Field, mask: Field<Uint8Array>, grid: Grid, title: string): Promise<Blob> {
  const view = makeView(data, mask, grid);
  const tiles: Tile[] = [];
  let height = HEADER;
  for (const row of MOSAIC) {
    const placed = placeRow(view, row, height);
    tiles.push(...placed.tiles);
    height += placed.height + GUTTER;
  }
  const canvas = new OffscreenCanvas(WIDTH, height);
  const context = canvas.getContext("2d")!;
  context.fillStyle = CANVAS_GREY;
  context.fillRect(0, 0, WIDTH, height);
  writeHeader(context, title);
  for (const tile of tiles) drawTile(context, view, tile);
  return canvas.convertToBlob({ type: "image/png" });
}

function writeHeader(context: OffscreenCanvasRenderingContext2D, title: string): void {
  context.textBaseline = "top";
  context.fillStyle = "rgb(240 240 240)";
  context.font = `22px ${FONT}`;
  context.fillText(title, GUTTER + 2, 6, WIDTH - 2 * GUTTER);
  context.fillStyle = "rgb(165 165 165)";
  context.font = `15px ${FONT}`;
  ["scan with the mask's outline", "brain"].forEach((words, half) => {
    context.fillText(words, GUTTER + half * HALF + 2, HEADER - 22);
  });
}

function drawTile(context: OffscreenCanvasRenderingContext2D, view: View, tile: Tile): void {
  const { values, inside } = cutSlice(view, tile);
  const isIn = (i: number) => inside[i]! >= 0.5;
  const scan = new ImageData(tile.width, tile.height);
  const brain = new ImageData(tile.width, tile.height);
  values.forEach((value, i) => {
    const grey = Math.round(value * 254);
    const colour = isIn(i) && isRim(i, tile.width, isIn, values.length) ? OUTLINE_COLOUR : [grey, grey, grey];
    scan.data.set([...colour, 255], 4 * i);
    const kept = isIn(i) ? grey : 0;
    brain.data.set([kept, kept, kept, 255], 4 * i);
  });
  [scan, brain].forEach((drawn, half) => {
    context.putImageData(drawn, tile.left + half * HALF, tile.top);
    writeLabels(context, tile, half * HALF);
  });
}

/** Whether a neighbour of a pixel is outside of the mask. */
function isRim(i: number, width: number, isIn: (i: number) => boolean, count: number): boolean {
  const column = i % width;
  if (column > 0 && !isIn(i - 1)) return true;
  if (column < width - 1 && !isIn(i + 1)) return true;
  return (i >= width && !isIn(i - width)) || (i + width < count && !isIn(i + width));
}

function writeLabels(context: OffscreenCanvasRenderingContext2D, tile: Tile, shift: number): void {
  const [left, right] = findLabel(tile.cut);
  context.font = `15px ${FONT}`;
  context.textBaseline = "top";
  context.lineWidth = 3;
  context.strokeStyle = "black";
  context.fillStyle = "rgb(240 240 240)";
  for (const [words, place, align] of [[left, tile.left + 4, "left"], [right, tile.left + tile.width - 4, "right"]] as const) {
    context.textAlign = align;
    context.strokeText(words, place + shift, tile.top + 4);
    context.fillText(words, place + shift, tile.top + 4);
  }
  context.textAlign = "left";
}
