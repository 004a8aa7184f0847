// The viewer: a scan with its mask, which sliders make anew and a hand corrects. Requests to
// deskull are in server.js, what is drawn in panes.js and slices.js, what changes a mask in editing/.

import { fillHoles, keepLargestPiece, replaceMask, smoothMask } from "../editing/shape.js";
import { clip, showBrain } from "./brain3d.js";
import { describe, describeFailed, describeMask, describeSaved, forget, showMark, showValues } from "./describing.js";
import { Drawing } from "./drawing.js";
import { offer, takeSnapshot } from "./files.js";
import { listenToKeys, Pen } from "./keyboard.js";
import { Pane, PLANES, readVoxel } from "./panes.js";
import { ask, askMask, fetchAhead, forgetDraft, keepDraft, open, readDraft, send, sendMark } from "./server.js";
import { findMiddle, readScan } from "./slices.js";
import { Windowing } from "./windowing.js";

const $ = (id) => document.getElementById(id);
const TOOLS = { look: "l", brush: "b", eraser: "e", fill: "g", cut: "x" };
const VIEWS = ["all", "axial", "coronal", "sagittal", "beside", "3d"];

let number = Number(new URLSearchParams(location.search).get("scan") ?? 0);
let about = null, file = null, ready = false, turn = 0;
let version = "", unsaved = false, byHand = false;

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

const drawing = new Drawing(scene, { readSliders, noteChange, noteNone, redraw: () => redraw() });
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

function readSliders() {
  return { threshold: $("threshold").value, border: $("border").value };
}

function showState() {
  let count = 0;
  for (const voxel of scene.mask) count += voxel;
  $("volume").textContent = `${(count * about.voxel_ml).toFixed(0)} ml${unsaved ? ", not saved" : ""}`;
  $("undo").disabled = !drawing.history.past.length;
  $("redo").disabled = !drawing.history.future.length;
  $("interpolate").disabled = drawing.drawn.length < 2;
}

function noteChange(hand) {
  unsaved = true;
  byHand = hand;
  say("");
  showState();
  redraw();
  keepDraft(number, scene.mask, version);
}

// Drawn, but as it was: two slices to interpolate between may be known now.
function noteNone() { showState(); redraw(); }

function interpolate() {
  const made = drawing.interpolate();
  say(made ? `Made the ${made.count} ${PLANES[made.axis]} slices between ${made.first + 1} and ${made.last + 1}.`
    : "Draw on two slices of one plane first, a dot in each is enough; those between them are then made.", made ? "" : "bad");
}

function travel(back) {
  const sliders = drawing.travel(back);
  if (!sliders) return;
  for (const [id, value] of Object.entries(sliders)) $(id).value = value;
  showValues();
  noteChange(true);
}

// Only the newest request is sent: while one mask is made, the slider may move on.
let asking = false, request = null;
async function remake() {
  pen.lift();
  const values = readSliders(), mine = turn, replaced = byHand;
  showValues();
  request = `&threshold=${values.threshold}&border=${values.border}${about.own ? "&own=1" : ""}`;
  if (asking) return;
  asking = true;
  say("making the mask …");
  try {
    while (request) {
      const now = request;
      request = null;
      const made = await askMask(number, now);
      if (mine !== turn) break; // another scan is shown by now
      drawing.change(replaceMask(scene.mask, made), false);
    }
    if (replaced) say("The sliders made the mask anew; z brings your drawing back.");
    else if (mine === turn) say("");
  } catch (error) {
    say(error.message, "bad");
  }
  asking = false;
}

function reset() {
  $("threshold").value = about.settings.threshold;
  $("border").value = about.settings.border;
  remake();
}

// Strip now, for a probability or where there is no mask at all.
async function strip() {
  const mine = turn, began = Date.now(), place = $(scene.mask.includes(1) ? "stripping" : "busy");
  const report = (step) => { if (mine === turn) place.textContent = `stripping: ${step || "starting"}, ${Math.round((Date.now() - began) / 1000)} s`; };
  $("strip").disabled = true;
  report("");
  let watch = setInterval(async () => {
    const { step } = await ask(`progress?scan=${number}`).then((answer) => answer.json()).catch(() => ({}));
    if (watch) report(step);
  }, 500);
  try {
    const fresh = await (await send(`strip?scan=${number}`)).json();
    if (mine !== turn) return;
    about = { ...about, ...fresh };
    describeMask(about);
    if (!scene.mask.includes(1)) {
      drawing.change(replaceMask(scene.mask, await askMask(number)), false);
      windowing.choose("brain");
      goToMiddle();
    }
    say(`Threshold and border now make the mask anew.${about.own ? ` To give up the mask of the file: "${$("reset").textContent}".` : ""}`);
  } catch (error) {
    if (mine === turn) say(error.message, "bad");
  } finally {
    watch = clearInterval(watch);
    if (mine === turn) { place.textContent = ""; $("strip").disabled = false; }
  }
}

// --- saving

async function save(over = false) {
  if (!ready) return;
  const mine = turn;
  forgetDraft();
  say("saving …");
  $("conflict").hidden = true;
  try {
    const answer = await (await send(`save?scan=${number}&version=${encodeURIComponent(version)}${over ? "&over=1" : ""}`, scene.mask)).json();
    if (mine !== turn) return;
    version = answer.version;
    about.mask_sha256 = answer.mask_sha256;
    unsaved = false;
    showState();
    say(...describeSaved(about.manual, answer));
  } catch (error) {
    $("conflict").hidden = error.status !== 409;
    say(`Not saved: ${error.message}`, "bad");
  }
}

async function download() {
  try {
    offer(await (await send(`download?scan=${number}`, scene.mask)).blob(), about.manual);
    say(`Downloaded as ${about.manual}.`, "good");
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
  if (unsaved) return say("Not marked: this drawing is not saved. Save it (s) or undo it (z) first.", "bad");
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
  ready = false;
  pen.forget();
  document.body.dataset.ready = "";
  Object.assign(scene, { volume: null, mask: null, other: null, difference: false });
  for (const pane of panes) pane.blank();
  say("");
  forget(number);
  if (document.body.dataset.view === "3d") show("all");
}

async function loadMask() {
  const draft = about.draft ? await readDraft(number) : null;
  const isEmpty = !about.mask && !about.probability && !about.version;
  scene.mask = isEmpty ? new Uint8Array(scene.volume.data.length) : await askMask(number, about.version ? "&manual=1" : "");
  version = about.version;
  [unsaved, byHand] = [false, false];
  drawing.start();
  if (draft && draft.version === version) {
    drawing.change(replaceMask(scene.mask, draft.mask));
    say("This drawing was not saved before; z takes it back.");
  } else if (about.version) say(`This is ${about.manual}, saved before.`);
  return isEmpty && !draft;
}

async function start() {
  const mine = ++turn;
  blank();
  try {
    const [known, scan] = await open(number);
    if (mine !== turn) return;
    [about, file] = [known, scan];
    scene.volume = readScan(scan);
    describe(number, about);
    const isEmpty = await loadMask();
    if (mine !== turn) return;
    windowing.start();
    readSwitches();
    goToMiddle();
    showState();
    ready = true;
    $("busy").textContent = "";
    document.body.dataset.ready = "yes";
    if (isEmpty && about.can_strip) strip();
    if (about.review) fetchAhead(number, about.count);
  } catch (error) {
    if (mine !== turn) return;
    $("busy").className = "bad";
    $("busy").textContent = `The scan cannot be shown: ${error.message}`;
    about = await describeFailed(number) ?? about;
  }
}

function listen() {
  listenToKeys(KEYS, ALWAYS, pen, () => ready, adoptFocus);
  addEventListener("keyup", (event) => { if (event.key === " " && scene.hidden) { scene.hidden = false; redraw(); } }, true);
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  new ResizeObserver(redraw).observe($("picture"));
  const actions = {
    undo: () => travel(true), redo: () => travel(false), interpolate, download, reset, snapshot, strip, save: () => save(), over: () => save(true),
    reload: () => { unsaved = false; start(); }, previous: () => go(number - 1), next: () => go(number + 1), help: ALWAYS["?"],
    largest: () => drawing.change(keepLargestPiece(scene.mask, scene.volume)), holes: () => drawing.change(fillHoles(scene.mask, scene.volume)),
    smooth: () => drawing.change(smoothMask(scene.mask, scene.volume)),
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", () => { if (ready || ["previous", "next", "help", "reload"].includes(id)) { pen.lift(); act(); } });
  for (const id of ["threshold", "border"]) $(id).addEventListener("input", () => remake());
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
