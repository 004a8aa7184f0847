// Tests of the editing tools, which need no page: node --test tests/editing.mjs
import assert from "node:assert/strict";
import test from "node:test";

const place = new URL("../src/deskull/review/static/editing/", import.meta.url);
const { drawStroke, fillArea } = await import(new URL("draw.js", place));
const { History, joinChanges } = await import(new URL("history.js", place));
const shape = await import(new URL("shape.js", place));

const THICK = { shape: [60, 60, 12], size: [1, 1, 5] }, CUBE = { shape: [40, 40, 40], size: [1, 1, 1] };
const make = ({ shape: [x, y, z] }) => new Uint8Array(x * y * z);
const count = (mask) => mask.reduce((sum, value) => sum + value, 0);
const about = (value, wanted, share) => assert.ok(Math.abs(value / wanted - 1) < share, `${value}, not ${wanted}`);

test("a disc has its area in mm, on the one slice", () => {
  const mask = make(THICK), changed = drawStroke(mask, THICK, [30, 30, 6], [30, 30, 6], 10, 1, 2);
  about(count(mask), Math.PI * 100, 0.03);
  assert.equal(changed.length, count(mask));
  assert.ok(changed.every((i) => Math.floor(i / 3600) === 6));
});

test("a disc across thick slices keeps its mm along both axes", () => {
  const mask = make(THICK);
  drawStroke(mask, THICK, [30, 30, 6], [30, 30, 6], 10, 1, 0);
  const slices = new Set(), rows = new Set();
  mask.forEach((value, i) => { if (value) { slices.add(Math.floor(i / 3600)); rows.add(Math.floor(i / 60) % 60); } });
  assert.deepEqual([slices.size, rows.size], [5, 21]); // 20 mm and the voxel in the middle
});

test("a brush smaller than a voxel draws the voxel under it", () => {
  const mask = make(THICK);
  assert.equal(drawStroke(mask, THICK, [30.4, 29.6, 6.2], [30.4, 29.6, 6.2], 0.2, 1).length, 1);
  assert.equal(mask[30 + 30 * 60 + 6 * 3600], 1);
});

test("a ball has its volume in mm", () => {
  const mask = make(THICK);
  drawStroke(mask, THICK, [30, 30, 6], [30, 30, 6], 12, 1);
  about(5 * count(mask), (4 / 3) * Math.PI * 12 ** 3, 0.05);
});

test("a stroke leaves no gaps, and an eraser takes it away", () => {
  const mask = make(CUBE);
  drawStroke(mask, CUBE, [5, 20, 20], [35, 20, 20], 2, 1, 2);
  for (let x = 5; x <= 35; x++) assert.equal(mask[x + 20 * 40 + 20 * 1600], 1);
  drawStroke(mask, CUBE, [5, 20, 20], [35, 20, 20], 2, 0, 2);
  assert.equal(count(mask), 0);
});

test("at the edge of the field nothing wraps around", () => {
  const mask = make(CUBE);
  drawStroke(mask, CUBE, [-3, 20, 20], [0, 20, 20], 4, 1);
  mask.forEach((value, i) => { if (value) assert.ok(i % 40 <= 4); });
});

test("an area is filled and cut on its slice", () => {
  const mask = make(CUBE), square = [[9.5, 9.5], [19.5, 9.5], [19.5, 19.5], [9.5, 19.5]];
  assert.equal(fillArea(mask, CUBE, 1, 7, square, 1).length, 100);
  mask.forEach((value, i) => { if (value) assert.equal(Math.floor(i / 40) % 40, 7); });
  assert.equal(fillArea(mask, CUBE, 1, 7, square, 0).length, 100);
  assert.equal(count(mask), 0);
});

test("the largest piece is kept, holes are filled", () => {
  const mask = make(CUBE);
  drawStroke(mask, CUBE, [15, 20, 20], [15, 20, 20], 10, 1);
  const whole = mask.slice();
  drawStroke(mask, CUBE, [34, 20, 20], [34, 20, 20], 3, 1);
  drawStroke(mask, CUBE, [15, 20, 20], [15, 20, 20], 4, 0);
  shape.keepLargestPiece(mask, CUBE);
  shape.fillHoles(mask, CUBE);
  assert.deepEqual(mask, whole);
});

test("smoothing takes spikes away and keeps the volume", () => {
  const mask = make(CUBE);
  drawStroke(mask, CUBE, [20, 20, 20], [20, 20, 20], 12, 1);
  const volume = count(mask);
  drawStroke(mask, CUBE, [20, 20, 20], [38, 20, 20], 0.4, 1);
  shape.smoothMask(mask, CUBE);
  assert.equal(mask[37 + 20 * 40 + 20 * 1600], 0);
  about(count(mask), volume, 0.05);
  const empty = make(CUBE);
  assert.equal(shape.smoothMask(empty, CUBE).length, 0);
});

test("distances are exact, in mm", () => {
  const flat = Uint8Array.from({ length: 100 }, (_, i) => (i % 10 >= 5 ? 1 : 0));
  assert.deepEqual([...shape.measureDistance(flat, [10, 10], [2, 1]).slice(0, 10)], [10, 8, 6, 4, 2, -2, -4, -6, -8, -10]);
});

test("slices between two discs grow from one to the other", () => {
  const mask = make(THICK);
  drawStroke(mask, THICK, [30, 30, 2], [30, 30, 2], 5, 1, 2);
  drawStroke(mask, THICK, [30, 30, 8], [30, 30, 8], 15, 1, 2);
  shape.interpolateSlices(mask, THICK, 2, 8, 2);
  for (let z = 3; z < 8; z++) about(Math.sqrt(count(mask.subarray(z * 3600, (z + 1) * 3600)) / Math.PI), 5 + (10 * (z - 2)) / 6, 0.05);
});

test("undo and redo go back and forth, and a new change ends redo", () => {
  const mask = make(CUBE), history = new History("start"), states = [mask.slice()];
  for (let i = 0; i < 3; i++) {
    history.push(drawStroke(mask, CUBE, [10 + 5 * i, 20, 20], [10 + 5 * i, 20, 20], 4, i === 1 ? 0 : 1), i);
    states.push(mask.slice());
  }
  for (const wanted of [2, 1, 0]) { history.undo(mask); assert.deepEqual(mask, states[wanted]); }
  assert.equal(history.state, "start");
  assert.equal(history.undo(mask), false);
  history.redo(mask);
  assert.deepEqual(mask, states[1]);
  history.push(Uint32Array.of(0), "other");
  assert.equal(history.redo(mask), false);
});

test("the step tells whether the mask is as it was", () => {
  const mask = make(CUBE), history = new History(0), first = history.step;
  const change = (i) => history.push(drawStroke(mask, CUBE, [i % 40, 20, 20], [i % 40, 20, 20], 0.1, i < 40 ? 1 : 0), i);
  change(0);
  const second = history.step;
  assert.notEqual(second, first);
  history.undo(mask);
  assert.equal(history.step, first);
  history.redo(mask);
  assert.equal(history.step, second);
  for (let i = 1; i < 202; i++) change(i);
  while (history.undo(mask));
  assert.notEqual(history.step, first); // the first steps are forgotten: they cannot be undone
  assert.equal(history.state, 1);
});

test("a stroke that crosses itself is one change", () => {
  const mask = make(CUBE), before = mask.slice();
  const parts = [1, 0, 1].map((value) => drawStroke(mask, CUBE, [20, 20, 20], [20, 20, 20], 5, value));
  const history = new History(null);
  history.push(joinChanges(parts), null);
  history.undo(mask);
  assert.deepEqual(mask, before);
});
