/** The page: what a person clicks, presses and drops, and what is shown of it. */

import "./style.css";

import { listenToKeys } from "@review/viewer/keyboard.js";

import { LIMITS, DEFAULTS } from "../settings";
import { Client } from "../worker/client";
import type { Output } from "../worker/protocol";
import { readDrop } from "./drop";
import { chooseThreads, goOffline, noteTouch } from "./offline";
import { describeState, type Entry } from "./queue";
import { Session } from "./session";
import { SHAPINGS, type Tool, type ViewName, VIEWS } from "./viewer";

const TOOLS: Record<string, Tool> = { l: "look", b: "brush", e: "eraser", g: "fill", x: "cut" };

function find<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const input = (id: string) => find<HTMLInputElement>(id);
const threads = chooseThreads();
const isUntouched = noteTouch(window);
const session = new Session(new Client(threads), { onBusy, onChange, onSaid, onChoice, onUnseen });
const { viewer } = session;

// --- what is shown

function onBusy(words: string | null, share?: number): void {
  find("busy").hidden = words === null;
  find("busy-words").textContent = words ?? "";
  if (share !== undefined) find<HTMLProgressElement>("busy-bar").value = share;
}

function onSaid(words: string, kind: "" | "good" | "bad"): void {
  find("said").textContent = words;
  find("said").className = kind;
}

function onUnseen(words: string): void {
  find("unseen").hidden = !words;
  find("unseen-words").textContent = words;
}

async function onChoice(message: string, kind: "frame" | "series", options: string[]): Promise<string | null> {
  const dialog = find<HTMLDialogElement>("choice");
  find("choice-words").textContent = message;
  find("choice-label").textContent = kind === "frame" ? "Frame" : "Series";
  const select = find<HTMLSelectElement>("choice-options");
  select.replaceChildren(...options.map((words) => new Option(words, words)));
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "take" ? select.value : null;
}

function onChange(): void {
  const entry = session.current;
  const isReady = session.isReady;
  document.body.dataset.state = !entry ? "start" : isReady ? "ready" : entry.state;
  find("start").hidden = session.queue.entries.length > 0;
  find("work").hidden = session.queue.entries.length === 0;
  find<HTMLFieldSetElement>("controls").disabled = !isReady;
  input("webgpu").disabled = entry?.state === "working";
  find("again").hidden = entry?.state !== "failed" && entry?.state !== "stopped";
  const { history, drawn } = viewer.drawing;
  find<HTMLButtonElement>("undo").disabled = !history.past.length;
  find<HTMLButtonElement>("redo").disabled = !history.future.length;
  find<HTMLButtonElement>("interpolate").disabled = drawn.length < 2;
  if (entry) showEntry(entry);
  showList();
  showValues();
}

function showEntry(entry: Entry): void {
  const isDone = entry.state === "done";
  document.title = `${entry.item.name} · deskull`;
  find("name").textContent = entry.item.name;
  find("volume").textContent = isDone ? `${entry.ml.toFixed(0)} ml` : "";
  find("score").textContent = isDone ? `score ${entry.judged!.score}${entry.isMended ? " (of the automatic mask)" : ""}` : "";
  const flags = isDone ? entry.judged!.flags : [];
  find("doubts").replaceChildren(
    ...entry.warnings.map((words) => makeLine(words)),
    ...flags.map(({ name, sentence }) => makeLine(makeFlag(name), ` ${sentence}`)),
  );
  input("threshold").value = String(entry.settings.threshold);
  input("border").value = String(entry.settings.border);
  input("tissue").checked = !entry.settings.csf;
}

function makeLine(...parts: (string | HTMLElement)[]): HTMLElement {
  const line = document.createElement("div");
  line.append(...parts);
  return line;
}

function makeFlag(name: string): HTMLElement {
  const flag = document.createElement("b");
  flag.className = "flag";
  flag.textContent = name;
  return flag;
}

function showList(): void {
  const { entries } = session.queue;
  const focused = document.activeElement?.getAttribute("data-entry");
  find("scans").hidden = entries.length < 2;
  find("zip").hidden = session.queue.filled.length < 2;
  find<HTMLButtonElement>("zip").disabled = session.isBusy;
  find("scans").replaceChildren(...entries.map(makeRow));
  if (focused) document.querySelector<HTMLElement>(`[data-entry="${focused}"]`)?.focus();
}

function makeRow(entry: Entry): HTMLLIElement {
  const row = document.createElement("li");
  const button = document.createElement("button");
  const name = document.createElement("span");
  const state = document.createElement("span");
  name.className = "name";
  name.textContent = entry.item.name;
  state.className = entry.state === "failed" ? "state bad" : "state";
  state.textContent = describeState(entry);
  button.title = entry.message || entry.item.name;
  button.dataset.entry = String(entry.id);
  button.setAttribute("aria-pressed", String(entry === session.current));
  button.append(name, state);
  button.addEventListener("click", () => void session.choose(entry));
  row.append(button);
  return row;
}

function showValues(): void {
  const border = Number(input("border").value);
  find("threshold-value").textContent = Number(input("threshold").value).toFixed(2);
  find("border-value").textContent = `${border > 0 ? "+" : ""}${border} mm`;
  find("opacity-value").textContent = `${Math.round(100 * Number(input("opacity").value))} %`;
  find("radius-value").textContent = `${input("radius").value} mm`;
  press("tools", "tool", viewer.scene.tool);
  press("views", "view", document.body.dataset.view ?? "all");
}

function press(group: string, key: "tool" | "view", chosen: string): void {
  for (const button of find(group).querySelectorAll<HTMLElement>(`[data-${key}]`)) {
    button.setAttribute("aria-pressed", String(button.dataset[key] === chosen));
  }
}

// --- what is done

function take(files: readonly File[]): void {
  if (!files.length) return;
  find("start-said").textContent = "";
  session.add(files).catch(complain);
}

function complain({ message }: Error): void {
  if (session.current) onSaid(message, "bad");
  else find("start-said").textContent = message;
}

async function takeExample(): Promise<void> {
  const name = "demo_T1w.nii.gz";
  try {
    const response = await fetch(`./data/${name}`);
    if (!response.ok) throw new Error(`${name}: the server answers ${response.status}. Host the page anew.`);
    take([new File([await response.blob()], name)]);
  } catch (error) {
    find("start-said").textContent = (error as Error).message;
  }
}

function remake(): void {
  showValues();
  void session.remake({
    threshold: Number(input("threshold").value),
    border: Number(input("border").value),
    csf: !input("tissue").checked,
  });
}

function reset(): void {
  input("threshold").value = String(DEFAULTS.threshold);
  input("border").value = String(DEFAULTS.border);
  input("tissue").checked = !DEFAULTS.csf;
  remake();
}

async function useWebgpu(): Promise<void> {
  input("webgpu").checked = await session.useWebgpu(input("webgpu").checked);
}

function chooseTool(name: Tool): void {
  viewer.choose(name);
  showValues();
}

function chooseView(name: ViewName): void {
  viewer.look(name);
  showValues();
}

function setRadius(radius: number): void {
  input("radius").value = String(radius);
  viewer.scene.radius = Number(input("radius").value);
  viewer.redraw();
  showValues();
}

function readSwitches(): void {
  viewer.scene.fill = input("outline").checked ? 0 : Number(input("opacity").value);
  viewer.scene.ball = input("ball").checked;
  viewer.redraw();
  showValues();
}

function hide(isHidden: boolean): void {
  viewer.scene.hidden = isHidden;
  viewer.redraw();
}

function interpolate(): void {
  const words = viewer.interpolate();
  onChange();
  onSaid(words, "");
}

function showKeys(): void {
  const dialog = find<HTMLDialogElement>("keys");
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/** What keys do while a scan is shown; those of `deskull view` where both have it. */
function makeKeys(): Record<string, () => void> {
  const keys: Record<string, () => void> = {
    z: () => viewer.travel(true),
    y: () => viewer.travel(false),
    Z: () => viewer.travel(false),
    s: () => void session.save("mask"),
    i: interpolate,
    o: () => input("outline").click(),
    a: () => input("ball").click(),
    "[": () => setRadius(viewer.scene.radius - 1),
    "]": () => setRadius(viewer.scene.radius + 1),
    "+": () => viewer.zoom(1.25),
    "=": () => viewer.zoom(1.25),
    "-": () => viewer.zoom(0.8),
    "0": () => viewer.zoom(),
    ArrowUp: () => viewer.step(1),
    ArrowDown: () => viewer.step(-1),
    " ": () => hide(true),
    Escape: () => undefined,
  };
  VIEWS.forEach((name, k) => (keys[String(k + 1)] = () => chooseView(name)));
  for (const [letter, name] of Object.entries(TOOLS)) keys[letter] = () => chooseTool(name);
  return keys;
}

// --- the start

function listenToFiles(): void {
  const click = (id: string, act: () => void) => find(id).addEventListener("click", act);
  click("choose-files", () => input("files").click());
  click("choose-folder", () => input("folder").click());
  click("add", () => input("files").click());
  click("example", () => void takeExample());
  for (const id of ["files", "folder"]) {
    input(id).addEventListener("change", () => {
      take([...(input(id).files ?? [])]);
      input(id).value = "";
    });
  }
  const mark = (isOver: boolean) => (event: DragEvent) => {
    event.preventDefault();
    document.body.classList.toggle("over", isOver);
  };
  window.addEventListener("dragover", mark(true));
  window.addEventListener("dragleave", mark(false));
  window.addEventListener("drop", (event) => {
    mark(false)(event);
    if (event.dataTransfer) readDrop(event.dataTransfer.items).then(take, complain);
  });
}

function listenToControls(): void {
  const click = (id: string, act: () => void) => find(id).addEventListener("click", act);
  click("cancel", () => session.cancel());
  click("again", () => void session.choose(session.current!));
  click("zip", () => void session.saveAll());
  click("reset", reset);
  click("spread", () => void session.spread());
  click("undo", () => viewer.travel(true));
  click("redo", () => viewer.travel(false));
  click("interpolate", interpolate);
  click("help", showKeys);
  for (const name of Object.keys(SHAPINGS) as (keyof typeof SHAPINGS)[]) click(name, () => viewer.shape(name));
  for (const id of ["threshold", "border", "tissue"]) input(id).addEventListener("input", remake);
  for (const id of ["opacity", "outline", "ball"]) input(id).addEventListener("input", readSwitches);
  input("webgpu").addEventListener("change", () => void useWebgpu());
  input("radius").addEventListener("input", () => setRadius(Number(input("radius").value)));
  input("depth").addEventListener("input", () => viewer.clip(Number(input("depth").value)));
  for (const button of document.querySelectorAll<HTMLElement>("button:is([data-tool], [data-view], [data-output])")) {
    const { tool: wanted, view: shown, output } = button.dataset;
    button.addEventListener("click", () => {
      if (wanted) chooseTool(wanted as Tool);
      if (wanted) viewer.focus(); // so that keys draw
      if (shown) chooseView(shown as ViewName);
      if (output) void session.save(output as Output);
    });
  }
  listenToKeys(makeKeys(), { "?": showKeys }, viewer.pen, () => session.isReady, () => viewer.adoptFocus());
  window.addEventListener("keyup", ({ key }) => key === " " && hide(false), true);
  window.addEventListener("beforeunload", (event) => {
    if (session.queue.entries.some(({ isMended }) => isMended)) event.preventDefault();
  });
}

function start(): void {
  [input("threshold").min, input("threshold").max] = LIMITS.threshold.map(String) as [string, string];
  [input("border").min, input("border").max] = LIMITS.border.map(String) as [string, string];
  find("about").textContent = `deskull ${__VERSION__}, ${threads === 1 ? "one thread" : `${threads} threads`}.`;
  listenToFiles();
  listenToControls();
  chooseTool("look");
  chooseView("all");
  readSwitches();
  onChange();
  void goOffline(() => isUntouched() && session.queue.entries.length === 0);
}

start();
