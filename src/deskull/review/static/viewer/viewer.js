// The viewer: a scan with its mask, which sliders make anew and a hand corrects. Requests to deskull
// are in server.js, saving in keeping.js, drawing of slices in panes.js, changes of a mask in editing/.

import { fillHoles, keepLargestPiece, replaceMask, smoothMask } from "../editing/shape.js";
import { clip, showBrain } from "./brain3d.js";
import { describe, describeFailed, describeMask, describePlace, describeSaved, forget, showMark, showValues } from "./describing.js";
import { Drawing } from "./drawing.js";
import { offer, takeSnapshot } from "./files.js";
import { Kept, openMask, settle } from "./keeping.js";
import { listenToKeys, Pen } from "./keyboard.js";
import { Pane, PLANES, readVoxel } from "./panes.js";
import { askCount, askMask, fetchAhead, open, send, sendMark, stripNow } from "./server.js";
import { findMiddle, readScan } from "./slices.js";
import { Sliders } from "./sliders.js";
import { Windowing } from "./windowing.js";

const $ = (id) => document.getElementById(id);
const TOOLS = { look: "l", brush: "b", eraser: "e", fill: "g", cut: "x" };
const VIEWS = ["all", "axial", "coronal", "sagittal", "beside", "3d"];

let number = Number(new URLSearchParams(location.search).get("scan") ?? 0);
let about = null, file = null, ready = false, turn = 0;
let kept = null, byHand = false;

const scene = {
  volume: null, mask: null, other: null, cross: [0, 0, 0], axis: 2, window: [0, 1], fill: 0.1, outline: true,
  crosshair: true, radiological: false, hidden: false, compare: false, difference: false,
  tool: "look", radius: 4, ball: false,
  get isBrush() { return this.tool === "brush" || this.tool === "eraser"; },
  toMm(axis) {
    if (!about.affine) return "";
    const row = about.affine[axis], at = row[0] * this.cross[0] + row[1] * this.cross[1] + row[2] * this.cross[2] + row[3];
    return about.oblique ? "" : `, ${Math.round(at) + 0} mm`; // + 0: no -0
  },
};

const sliders = new Sliders(() => { if (ready) remake(); });
const drawing = new Drawing(scene, { readSliders: () => sliders.values, noteChange, noteNone, redraw: () => redraw() });
const redraw = () => { for (const pane of panes) pane.draw(); };
const windowing = new Windowing(scene, redraw);
const hand = { draw: (...stroke) => drawing.paint(...stroke), drawn: (axis) => drawing.finishStroke(axis), area: (axis, line) => drawing.paintArea(axis, line) };
const pen = new Pen(scene, { ...hand, look, say });
const panes = [2, 1, 0, -1].map((axis) => new Pane($(`pane${axis}`), scene, {
  ...hand, look, point, step: stepSlice, changeWindow: (right, up) => windowing.change(right, up), taken: () => pen.lift(),
}, axis));

function say(text, kind = "") {
  $("said").textContent = text;
  $("said").className = kind;
}

// --- where one looks

function look(voxel) {
  scene.cross = voxel.map((v, axis) => Math.min(Math.max(Math.round(v), 0), scene.volume.shape[axis] - 1));
  redraw();
  point(scene.cross);
}

function stepSlice(axis, by) {
  scene.axis = axis;
  look(scene.cross.map((v, a) => (a === axis ? v + by : v)));
}

function point(voxel) {
  const value = readVoxel(scene.volume, voxel);
  $("under").textContent = value === null ? "" : `${voxel.map((v) => Math.round(v)).join(" ")}: ${Number(value.toPrecision(4))}`;
}

// The middle of the mask, where the slices are shown at first.
function goToMiddle() {
  look(findMiddle(scene.volume, scene.mask));
}

function show(view) {
  document.body.dataset.view = view;
  if (PLANES.includes(view)) scene.axis = PLANES.indexOf(view);
  if (view === "beside") { for (const pane of panes) pane.canvas.classList.toggle("beside", pane.own === scene.axis); }
  for (const button of $("views").children) button.setAttribute("aria-pressed", button.dataset.view === view);
  redraw();
  if (view === "3d" && ready) showBrain($("brain"), file, scene.mask, Number($("depth").value)).catch((error) => say(error.message, "bad"));
}

// --- changes of the mask

/** End a stroke that is not ended: the mask is replaced, or another scan is shown. */
function endStroke() {
  pen.lift();
  for (const pane of panes) pane.cancel();
}

function showState() {
  let count = 0;
  for (const voxel of scene.mask) count += voxel;
  $("volume").textContent = `${(count * about.voxel_ml).toFixed(0)} ml${kept.isUnsaved ? ", not saved" : ""}`;
  $("undo").disabled = !drawing.history.past.length;
  $("redo").disabled = !drawing.history.future.length;
  $("interpolate").disabled = drawing.drawn.length < 2;
}

function noteChange(hand) {
  byHand = hand;
  say("");
  showState();
  redraw();
  kept.note();
}

// Drawn, but as it was: two slices to interpolate between may be known now.
function noteNone() { showState(); redraw(); }

function interpolate() {
  const made = drawing.interpolate();
  say(made ? `Made the ${made.count} ${PLANES[made.axis]} slices between ${made.first + 1} and ${made.last + 1}.`
    : "Draw on two slices of one plane first, a dot in each is enough; those between them are then made.", made ? "" : "bad");
}

function travel(back) {
  const values = drawing.travel(back);
  if (!values) return;
  sliders.set(values);
  noteChange(true);
}

// Only the newest request is sent: while one mask is made, the slider may move on, or another scan be shown.
let asking = false, request = null;
async function remake() {
  endStroke();
  const { threshold, border } = sliders.values;
  request = { of: turn, number, query: `&threshold=${threshold}&border=${border}${about.own ? "&own=1" : ""}` };
  say("making the mask …");
  if (asking) return;
  asking = true;
  let replaced = 0; // the turn whose drawing was replaced
  while (request) {
    const { of, number, query } = request;
    request = null;
    try {
      const made = await askMask(number, query);
      if (of !== turn) continue; // another scan is shown by now
      endStroke();
      if (byHand) replaced = of;
      drawing.change(replaceMask(scene.mask, made), false);
      say(replaced === of ? "The sliders made the mask anew; z brings your drawing back." : "");
    } catch (error) {
      if (of === turn) say(error.message, "bad");
    }
  }
  asking = false;
}

// Strip now, for a probability or where there is no mask at all.
async function strip() {
  const mine = turn, here = number, place = $(scene.mask.includes(1) ? "stripping" : "busy");
  $("strip").disabled = true;
  try {
    const fresh = await stripNow(here, (words) => { if (mine === turn) place.textContent = words; });
    if (mine !== turn) return;
    about = { ...about, ...fresh };
    describeMask(about);
    if (!scene.mask.includes(1)) {
      const made = await askMask(here);
      if (mine !== turn) return;
      endStroke();
      drawing.change(replaceMask(scene.mask, made), false);
      windowing.choose("brain");
      goToMiddle();
    }
    say(`Threshold and border now make the mask anew.${about.own ? ` To give up the mask of the file: "${$("reset").textContent}".` : ""}`);
  } catch (error) {
    if (mine === turn) say(error.message, "bad");
  } finally {
    if (mine === turn) $("strip").disabled = false;
  }
}

// --- saving

async function save(over = false) {
  if (!ready) return;
  const mine = turn, { name, manual } = about;
  say("saving …");
  $("conflict").hidden = true;
  try {
    const answer = await kept.save(over);
    if (mine !== turn) return;
    about.mask_sha256 = answer.mask_sha256;
    showState();
    const [text, kind] = describeSaved(manual, answer);
    say(kept.isUnsaved ? `${text} What was drawn meanwhile is not saved yet.` : text, kind);
  } catch (error) {
    if (mine !== turn) return say(`${name}: not saved: ${error.message}`, "bad");
    $("conflict").hidden = error.status !== 409;
    say(`Not saved: ${error.message}`, "bad");
  }
}

async function download() {
  const mine = turn, { manual } = about;
  try {
    offer(await (await send(`download?scan=${number}`, scene.mask)).blob(), manual);
    if (mine === turn) say(`Downloaded as ${manual}.`, "good");
  } catch (error) {
    say(error.message, "bad");
  }
}

const snapshot = () => takeSnapshot($("picture"), about.name, `${about.name}, ${$("volume").textContent}`);

// --- which scan

async function go(to) {
  if (!about?.review || to < 0 || to >= about.count || (!ready && to === number)) return;
  window.history.replaceState(null, "", `?scan=${to}`);
  number = to;
  await start();
}

async function mark(value) {
  if (about && !about.review) return;
  if (!ready) {
    const why = $("busy").className === "bad" ? "cannot be shown; mark it in the list of all scans" : "is not shown yet";
    return say(`Not marked: scan ${number + 1} ${why}.`, "bad");
  }
  if (kept.isUnsaved) return say("Not marked: this drawing is not saved. Save it (s) or undo it (z) first.", "bad");
  try {
    const mine = turn, { by, marked } = await sendMark(number, about, value);
    if (mine !== turn) return; // another scan is shown by now
    Object.assign(about, { mark: value, by, marked });
    showMark(about);
  } catch (error) {
    say(`Not marked: ${error.message}`, "bad");
  }
}

// --- tools and values

function choose(tool) {
  scene.tool = tool;
  for (const button of $("tools").querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  document.body.dataset.tool = tool;
  redraw();
}

/** Choose by a button: the picture gets the focus, so that keys draw on it. */
function take(tool) {
  pen.lift();
  choose(tool);
  findPane().canvas.focus();
}

function setRadius(radius) {
  $("radius").value = radius;
  scene.radius = Number($("radius").value);
  showValues();
  redraw();
}

function flip(id) {
  $(id).checked = !$(id).checked;
  readSwitches();
}

function readSwitches() {
  for (const id of ["outline", "crosshair", "radiological", "ball", "difference"]) scene[id] = $(id).checked;
  scene.difference &&= scene.other !== null;
  scene.fill = Number($("fill").value);
  redraw();
}

async function compare() {
  const kind = $("compare").value, mine = turn;
  scene.compare = kind !== "nothing";
  try {
    const other = !scene.compare ? null : await askMask(number, kind === "reference" ? "&reference=1" : "");
    if (mine === turn) scene.other = other;
  } catch (error) {
    say(error.message, "bad");
  }
  readSwitches();
}

/** Keys act on the plane that has the focus; without one on that used last. */
function adoptFocus() {
  const focused = panes.find((pane) => pane.canvas === document.activeElement && pane.own >= 0);
  if (focused && focused.own !== scene.axis) {
    pen.lift();
    scene.axis = focused.own;
    redraw();
  }
}

const findPane = () => panes.find((pane) => pane.own === scene.axis);
const zoom = (factor) => findPane().zoom(factor);
const KEYS = {
  z: () => travel(true), Z: () => travel(false), y: () => travel(false), s: () => save(), i: interpolate, k: snapshot,
  o: () => { $("fill").value = Number($("fill").value) ? 0 : 0.1; showValues(); readSwitches(); },
  h: () => flip("crosshair"), r: () => flip("radiological"), a: () => flip("ball"), d: () => flip("difference"),
  "[": () => setRadius(scene.radius - 1), "]": () => setRadius(scene.radius + 1),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => panes.forEach((pane) => pane.reset()),
  ArrowUp: () => stepSlice(scene.axis, 1), ArrowDown: () => stepSlice(scene.axis, -1),
  " ": () => { scene.hidden = true; redraw(); }, Escape: () => {},
};
for (const [tool, letter] of Object.entries(TOOLS)) KEYS[letter] = () => choose(tool);
VIEWS.forEach((view, i) => { KEYS[i + 1] = () => show(view); });
const ALWAYS = {
  ArrowRight: () => go(number + 1), ArrowLeft: () => go(number - 1), "?": () => ($("keys").open ? $("keys").close() : $("keys").showModal()),
  p: () => mark("pass"), f: () => mark("fail"), m: () => mark("maybe"), u: () => mark(""),
};

// --- one scan after the other

function blank() {
  endStroke();
  kept?.leave();
  [ready, kept] = [false, null];
  pen.forget();
  document.body.dataset.ready = "";
  Object.assign(scene, { volume: null, mask: null, other: null, difference: false });
  for (const pane of panes) pane.blank();
  say("");
  forget(number);
  if (document.body.dataset.view === "3d") show("all");
}

/** Begin with the mask of a scan, and with what was drawn on it but not saved. */
function begin(number, mask, drawn) {
  scene.mask = mask;
  byHand = false;
  sliders.set(about.settings);
  drawing.start();
  kept = new Kept(number, mask, about.version, drawing.history);
  if (drawn) drawing.change(replaceMask(mask, drawn.mask));
  const isOutdated = drawn && drawn.version !== about.version;
  if (isOutdated) travel(true);
  if (isOutdated) say(`${about.manual} was saved from elsewhere since you drew on it; y brings your drawing back.`);
  else if (kept.isUnsaved) say("This drawing was not saved before; z takes it back.");
  else if (about.version) say(`This is ${about.manual}, saved before.`);
}

async function start() {
  const mine = ++turn, here = number;
  blank();
  try {
    await settle(here);
    const [known, scan] = await open(here);
    if (mine !== turn) return;
    [about, file] = [known, scan];
    scene.volume = readScan(scan);
    describe(here, about);
    const { mask, drawn, isEmpty } = await openMask(here, known, scene.volume.data.length);
    if (mine !== turn) return;
    begin(here, mask, drawn);
    windowing.start();
    readSwitches();
    goToMiddle();
    showState();
    ready = true;
    $("busy").textContent = "";
    document.body.dataset.ready = "yes";
    if (isEmpty && !drawn && about.can_strip) strip();
    if (about.review) fetchAhead(here, about.count);
  } catch (error) {
    if (mine !== turn) return;
    describeFailed(error);
    const all = await askCount();
    if (mine !== turn || !all) return;
    about = all;
    describePlace(here, all);
  }
}

function listen() {
  listenToKeys(KEYS, ALWAYS, pen, () => ready, adoptFocus);
  addEventListener("keyup", (event) => { if (event.key === " " && scene.hidden) { scene.hidden = false; redraw(); } }, true);
  addEventListener("beforeunload", (event) => { if (kept?.isUnsaved) event.preventDefault(); });
  new ResizeObserver(redraw).observe($("picture"));
  const actions = {
    undo: () => travel(true), redo: () => travel(false), interpolate, download, snapshot, strip, save: () => save(), over: () => save(true),
    reset: () => { sliders.set(about.settings); remake(); }, reload: () => { kept?.forget(); start(); }, previous: () => go(number - 1), next: () => go(number + 1), help: ALWAYS["?"],
    largest: () => drawing.change(keepLargestPiece(scene.mask, scene.volume)), holes: () => drawing.change(fillHoles(scene.mask, scene.volume)),
    smooth: () => drawing.change(smoothMask(scene.mask, scene.volume)),
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", () => { if (ready || ["previous", "next", "help", "reload"].includes(id)) { pen.lift(); act(); } });
  for (const id of ["outline", "crosshair", "radiological", "ball", "difference"]) $(id).addEventListener("input", readSwitches);
  $("fill").addEventListener("input", () => { showValues(); readSwitches(); });
  $("radius").addEventListener("input", () => setRadius($("radius").value));
  $("depth").addEventListener("input", () => clip(Number($("depth").value)));
  $("compare").addEventListener("input", compare);
  const groups = { tools: (b) => b.dataset.tool && take(b.dataset.tool), views: (b) => show(b.dataset.view), marks: (b) => mark(b.getAttribute("aria-pressed") === "true" ? "" : b.dataset.mark) };
  for (const [id, act] of Object.entries(groups)) for (const button of $(id).children) button.addEventListener("click", () => { if (ready || id === "marks") act(button); });
}

listen();
choose("look");
show("all");
showValues();
start();
window.deskull = { scene, panes }; // for the tests
