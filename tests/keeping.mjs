// Tests of how the viewer keeps what is drawn, without a page: node --test tests/keeping.mjs
import assert from "node:assert/strict";
import test from "node:test";

const requests = []; // what deskull was asked, in order; each is answered when the test says so
globalThis.fetch = (path, { body } = {}) =>
  new Promise((resolve) => {
    const answer = (content = {}, status = 200) => resolve(new Response(JSON.stringify(content), { status }));
    requests.push({ path, mask: body && [...body], answer });
  });
globalThis.devicePixelRatio = 1;
globalThis.document = { createElement: () => ({}) };

const place = new URL("../src/deskull/review/static/", import.meta.url);
const { Drawing } = await import(new URL("viewer/drawing.js", place));
const { Kept, settle } = await import(new URL("viewer/keeping.js", place));
const { Pane } = await import(new URL("viewer/panes.js", place));

const rest = () => new Promise((resolve) => setImmediate(resolve));
const isPending = async (promise) => (await Promise.race([promise, rest().then(() => rest)])) === rest;

// A scan of four voxels that is shown, and drawn on.
function show(number, version = "") {
  const mask = new Uint8Array(4), scene = { mask, cross: [0, 0, 0], volume: { shape: [4, 1, 1], size: [1, 1, 1] } };
  const act = { readSliders: () => ({}), noteChange: () => kept.note(), noteNone() {}, redraw() {} };
  const drawing = new Drawing(scene, act), kept = new Kept(number, mask, version, drawing.history);
  const draw = (voxel) => { mask[voxel] ^= 1; drawing.change(Uint32Array.of(voxel)); };
  const undo = () => { drawing.travel(true); kept.note(); };
  requests.length = 0;
  return { kept, drawing, draw, undo };
}

test("what is drawn while a save runs is not saved, and is kept for the new version", async () => {
  const { kept, draw, undo } = show(3, "v1");
  draw(0);
  const saving = kept.save(false);
  await rest();
  draw(1);
  assert.deepEqual(requests.map(({ path, mask }) => [path, mask]), [["save?scan=3&version=v1", [1, 0, 0, 0]]]);
  requests[0].answer({ version: "v2" });
  await saving;
  assert.ok(kept.isUnsaved);
  kept.leave();
  await rest();
  assert.deepEqual(requests.slice(1).map(({ path, mask }) => [path, mask]), [["draft?scan=3&version=v2", [1, 1, 0, 0]]]);
  undo();
  assert.ok(!kept.isUnsaved); // as it was saved
  undo();
  assert.ok(kept.isUnsaved);
  kept.forget();
});

test("a scan that is left while it is saved keeps what was drawn since", async () => {
  const { kept, draw } = show(4);
  const saving = kept.save(false);
  await rest();
  draw(2);
  kept.leave();
  assert.equal(requests.length, 1);
  requests[0].answer({ version: "v1" });
  await saving;
  await rest();
  assert.equal(requests[1].path, "draft?scan=4&version=v1");
  assert.ok(await isPending(settle(4)));
  requests[1].answer();
  await settle(4);
});

test("a scan that is left sends its drawing at once, whatever is drawn on the next", async () => {
  const one = show(5), two = show(6);
  one.draw(0);
  one.kept.leave();
  two.draw(1);
  await rest();
  assert.deepEqual(requests.map(({ path, mask }) => [path, mask]), [["draft?scan=5&version=", [1, 0, 0, 0]]]);
  assert.ok(await isPending(settle(5))); // it is not opened again before
  requests[0].answer();
  await settle(5);
  two.kept.forget();
});

test("a mask that could not be saved is kept", async () => {
  const { kept, draw } = show(7);
  draw(0);
  const saving = kept.save(false);
  await rest();
  requests[0].answer({ error: "saved from another page meanwhile" }, 409);
  await assert.rejects(saving, { status: 409 });
  assert.ok(kept.isUnsaved);
  kept.leave();
  await rest();
  assert.equal(requests[1].path, "draft?scan=7&version=");
});

test("of two saves the second waits, and names the version of the first", async () => {
  const { kept } = show(8);
  const saving = [kept.save(false), kept.save(true)];
  await rest();
  assert.equal(requests.length, 1);
  requests[0].answer({ version: "v1" });
  await saving[0];
  await rest();
  assert.equal(requests[1].path, "save?scan=8&version=v1&over=1");
  requests[1].answer({ version: "v2" });
  await saving[1];
});

test("a stroke of another scan is forgotten", () => {
  const { drawing } = show(9);
  drawing.parts.push(Uint32Array.of(3));
  drawing.start();
  drawing.finishStroke(2);
  assert.equal(drawing.history.past.length, 0);
});

test("a drag that the mouse does not end is ended: a stroke stays, an area is dropped", () => {
  const calls = [], note = (name) => () => calls.push(name);
  const act = Object.fromEntries(["look", "draw", "drawn", "area", "point", "taken"].map((name) => [name, note(name)]));
  const volume = { shape: [4, 4, 4], size: [1, 1, 1] }, scene = { volume, mask: new Uint8Array(64), cross: [0, 0, 0], axis: 2, tool: "brush" };
  const canvas = Object.assign(new EventTarget(), {
    width: 9, height: 9, offsetParent: null, getContext: () => ({}), getBoundingClientRect: () => ({ left: 0, top: 0, width: 9 }),
    focus() {}, setPointerCapture() {},
  });
  const pane = new Pane(canvas, scene, act, 2);
  const send = (name) => canvas.dispatchEvent(Object.assign(new Event(name), { button: 0, clientX: 4, clientY: 4 }));
  send("pointerdown");
  send("pointercancel");
  assert.deepEqual(calls.splice(0), ["taken", "draw", "drawn"]);
  send("pointerdown");
  pane.cancel(); // another scan is shown
  send("pointermove");
  send("pointerup");
  assert.deepEqual(calls.splice(0), ["taken", "draw", "drawn", "point"]);
  scene.tool = "fill";
  send("pointerdown");
  send("pointercancel");
  send("pointerup");
  assert.deepEqual(calls, ["taken"]);
});
