/** The page: what a person clicks, presses and drops, and what is shown of it. */

import "./style.css";

import type { Triple } from "../image/affine";
import { LIMITS, DEFAULTS } from "../settings";
import { Client } from "../worker/client";
import type { Output } from "../worker/protocol";
import { readDrop } from "./drop";
import { chooseThreads, goOffline } from "./offline";
import { describeState, type Entry } from "./queue";
import { Session } from "./session";
import { type Tool, Viewer, type ViewName, VIEWS } from "./viewer";

const KEYS: Record<string, Tool> = { l: "look", b: "brush", e: "eraser" };
/** Where keys move the cross-hair, while the picture has the focus. */
const STEPS: Record<string, Triple> = {
  ArrowLeft: [-1, 0, 0],
  ArrowRight: [1, 0, 0],
  ArrowDown: [0, -1, 0],
  ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1],
  PageUp: [0, 0, 1],
};

function find<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const input = (id: string) => find<HTMLInputElement>(id);
const threads = chooseThreads();
const viewer = new Viewer(find<HTMLCanvasElement>("canvas"));
const session = new Session(new Client(threads), viewer, { onBusy, onChange, onSaid, onChoice, onUnseen });
let tool: Tool = "look";
let view: ViewName = "multiplanar";

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
  find<HTMLButtonElement>("undo").disabled = !session.history.canUndo;
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
  find("zip").hidden = session.queue.done.length < 2;
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
  find("size-value").textContent = `${input("size").value} voxels`;
  press("tools", "tool", tool);
  press("views", "view", view);
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
  session.add(files).catch((error: Error) => {
    if (session.current) onSaid(error.message, "bad");
    else find("start-said").textContent = error.message;
  });
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
  tool = name;
  viewer.choose(name);
  showValues();
}

function chooseView(name: ViewName): void {
  view = name;
  viewer.look(name);
  showValues();
}

function setSize(size: number): void {
  input("size").value = String(size);
  viewer.setPenSize(Number(input("size").value));
  showValues();
}

function showOpacity(): void {
  viewer.setOpacity(input("outline").checked ? 0 : Number(input("opacity").value));
  showValues();
}

function pressKey(event: KeyboardEvent): void {
  const { key } = event;
  const target = event.target as HTMLElement;
  const isCommand = event.ctrlKey || event.metaKey;
  if (!session.isReady || event.altKey || (isCommand && key !== "z" && key !== "s")) return;
  const acts: Record<string, () => void> = {
    z: () => session.undo(),
    s: () => void session.save("mask"),
    o: () => input("outline").click(),
    "[": () => setSize(Number(input("size").value) - 1),
    "]": () => setSize(Number(input("size").value) + 1),
  };
  VIEWS.forEach((name, k) => (acts[String(k + 1)] = () => chooseView(name)));
  for (const [letter, name] of Object.entries(KEYS)) acts[letter] = () => chooseTool(name);
  if (key === " " && !target.matches("button, summary, input, select")) acts[" "] = () => viewer.setHidden(true);
  if (target.id === "canvas") {
    acts.Enter = () => viewer.drawHere();
    for (const [name, by] of Object.entries(STEPS)) acts[name] = () => viewer.step(by);
  }
  const act = acts[key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
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
    if (event.dataTransfer) void readDrop(event.dataTransfer.items).then(take);
  });
}

function listenToControls(): void {
  const click = (id: string, act: () => void) => find(id).addEventListener("click", act);
  click("cancel", () => session.cancel());
  click("again", () => void session.choose(session.current!));
  click("zip", () => void session.saveAll());
  click("reset", reset);
  click("undo", () => session.undo());
  for (const id of ["threshold", "border", "tissue"]) input(id).addEventListener("input", remake);
  for (const id of ["opacity", "outline"]) input(id).addEventListener("input", showOpacity);
  input("webgpu").addEventListener("change", () => void useWebgpu());
  input("size").addEventListener("input", () => setSize(Number(input("size").value)));
  for (const button of document.querySelectorAll<HTMLElement>("[data-tool], [data-view], [data-output]")) {
    const { tool: wanted, view: shown, output } = button.dataset;
    button.addEventListener("click", () => {
      if (wanted) chooseTool(wanted as Tool);
      if (shown) chooseView(shown as ViewName);
      if (output) void session.save(output as Output);
    });
  }
  window.addEventListener("keydown", pressKey, true);
  window.addEventListener("keyup", ({ key }) => key === " " && viewer.setHidden(false), true);
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
  onChange();
  void goOffline(() => session.queue.entries.length === 0);
}

start();
