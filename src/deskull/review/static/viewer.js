// The viewer: a scan with its mask as NiiVue's drawing, which sliders remake and a hand corrects.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const number = Number(new URLSearchParams(location.search).get("scan") ?? 0);
  const ORANGE = [1, 0.42, 0.15];
  const TOOLS = { brush: [1, false], eraser: [0, false], fill: [1, true], cut: [0, true] };
  const LETTERS = { l: "look", b: "brush", e: "eraser", g: "fill", x: "cut" };
  const UNDOS = 40;
  const VIEWS = ["multiplanar", "axial", "coronal", "sagittal", "render"];
  const MARKS = { p: "pass", f: "fail", m: "maybe", u: "" };
  let nv, about, version = "", unsaved = false, hand = false, ready = false;
  let past = []; // what the sliders said at each state of the mask that undo can go back to

  // --- what is asked of the server

  async function ask(path, options) {
    const answer = await fetch(path, options).catch(() => {
      throw new Error("deskull does not answer. Does it still run in the terminal? Nothing here is lost.");
    });
    if (answer.ok) return answer;
    const problem = new Error((await answer.json()).error);
    problem.status = answer.status;
    throw problem;
  }

  const getMask = async (query) =>
    new Uint8Array(await (await ask(`mask?scan=${number}${query}`)).arrayBuffer());

  function say(words, kind = "") {
    $("said").textContent = words;
    $("said").className = kind;
  }

  // --- the mask

  const readSliders = () => ({ threshold: $("threshold").value, border: $("border").value });

  function showMask(bytes, undoable) {
    nv.drawBitmap = bytes;
    if (!undoable) {
      nv.drawClearAllUndoBitmaps();
      past = [];
    }
    nv.drawAddUndoBitmap();
    past = [...past, readSliders()].slice(-UNDOS);
    nv.refreshDrawing(true);
    showState();
  }

  function showState() {
    let count = 0;
    for (const voxel of nv.drawBitmap) count += voxel > 0;
    $("volume").textContent = `${(count * about.voxel_ml).toFixed(0)} ml${unsaved ? ", not saved" : ""}`;
    $("undo").disabled = past.length < 2;
  }

  // The middle of the mask, where the slices are shown at first.
  function goToMiddle() {
    const [nx, ny, nz] = about.shape, sum = [0, 0, 0];
    let count = 0, i = 0;
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++)
        for (let x = 0; x < nx; x++)
          if (nv.drawBitmap[i++]) {
            count += 1;
            sum[0] += x; sum[1] += y; sum[2] += z;
          }
    if (count) nv.scene.crosshairPos = sum.map((total, axis) => (total / count + 0.5) / about.shape[axis]);
  }

  function change(byHand) {
    unsaved = true;
    hand = byHand;
    say("");
    showState();
  }

  function undo() {
    if (past.length > 1) nv.drawUndo();
  }

  function noteDrawing(action) {
    if (action === "undo") {
      past.pop();
      for (const [id, value] of Object.entries(past.at(-1))) $(id).value = value;
      showValues();
    } else {
      past = [...past, readSliders()].slice(-UNDOS);
    }
    change(true);
  }

  // Only the newest wish is asked for: while one mask is made, the slider may move on.
  let asking = false, wish = null;
  async function remake() {
    const values = readSliders();
    showValues();
    wish = `&threshold=${values.threshold}&border=${values.border}`;
    if (asking) return;
    asking = true;
    const replaced = hand;
    say("making the mask …");
    try {
      while (wish) {
        const now = wish;
        wish = null;
        showMask(await getMask(now), true);
        change(false);
      }
      if (replaced) say("The sliders made the mask anew; z brings your drawing back.");
    } catch (error) {
      say(error.message, "bad");
    }
    asking = false;
  }

  function showValues() {
    const border = Number($("border").value);
    $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
    $("border-value").textContent = `${border > 0 ? "+" : ""}${border} mm`;
    $("opacity-value").textContent = `${Math.round($("opacity").value * 100)} %`;
    $("size-value").textContent = `${$("size").value} voxels`;
  }

  function reset() {
    $("threshold").value = about.settings.threshold;
    $("border").value = about.settings.border;
    remake();
  }

  // --- saving

  async function save(over = false) {
    if (!ready) return;
    const bytes = nv.drawBitmap;
    say("saving …");
    $("conflict").hidden = true;
    try {
      const query = `scan=${number}&version=${encodeURIComponent(version)}${over ? "&over=1" : ""}`;
      const answer = await (await ask(`save?${query}`, { method: "POST", body: bytes })).json();
      version = answer.version;
      about.mask_sha256 = answer.mask_sha256;
      unsaved = false;
      showState();
      say(answer.old.length ? `Saved as ${about.manual}; ${answer.old.join(", ")} is still of the automatic mask. Make it again: ${answer.command}` : `Saved as ${about.manual}; ${answer.remade.join(", ") || "nothing else"} made again from it. The automatic mask is kept.`, "good");
    } catch (error) {
      $("conflict").hidden = error.status !== 409;
      say(`Not saved: ${error.message}`, "bad");
    }
  }

  async function download() {
    try {
      const answer = await ask(`download?scan=${number}`, { method: "POST", body: nv.drawBitmap });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = about.manual;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      say(`Downloaded as ${about.manual}.`, "good");
    } catch (error) {
      say(error.message, "bad");
    }
  }

  async function mark(word) {
    try {
      await ask("marks", { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ scan: number, mark: word, mask_sha256: about.mask_sha256 }) });
      about.mark = word;
      showMark();
    } catch (error) {
      say(`Not marked: ${error.message}`, "bad");
    }
  }

  function showMark() {
    for (const button of $("marks").children)
      button.classList.toggle("chosen", button.dataset.mark === about.mark);
  }

  function go(to) {
    if (to >= 0 && to < about.count) location.search = `?scan=${to}`;
  }

  // --- tools and views

  function choose(name) {
    const [value, filled] = TOOLS[name] ?? [0, false];
    nv.setPenValue(value, filled);
    nv.setDrawingEnabled(name in TOOLS);
    for (const button of $("tools").querySelectorAll("[data-tool]"))
      button.classList.toggle("chosen", button.dataset.tool === name);
    $("canvas").style.cursor = name in TOOLS ? "crosshair" : "default";
  }

  function setSize(size) {
    $("size").value = size;
    nv.opts.penSize = Number($("size").value);
    showValues();
  }

  function look(view) {
    const types = { multiplanar: nv.sliceTypeMultiplanar, axial: nv.sliceTypeAxial,
      coronal: nv.sliceTypeCoronal, sagittal: nv.sliceTypeSagittal, render: nv.sliceTypeRender };
    nv.setSliceType(types[view]);
    for (const button of $("views").children)
      button.classList.toggle("chosen", button.dataset.view === view);
  }

  const setOpacity = (opacity) => nv.setDrawOpacity(Number(opacity));

  function press(event) {
    const { key } = event;
    if (event.altKey || (event.target.matches("input") && key.startsWith("Arrow"))) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && key !== "z" && key !== "s") return;
    const done = () => { event.preventDefault(); event.stopPropagation(); };
    if (!ready && !key.startsWith("Arrow")) return;
    if (key === "z") { done(); undo(); }
    else if (key === "s") { done(); save(); }
    else if (key === " " && !event.target.matches("button, summary")) { done(); setOpacity(0); }
    else if (key in LETTERS) { done(); choose(LETTERS[key]); }
    else if (key >= "1" && key <= "5") { done(); look(VIEWS[key - 1]); }
    else if (key === "[" || key === "]") { done(); setSize(nv.opts.penSize + (key === "]" ? 1 : -1)); }
    else if (about?.review && key in MARKS) { done(); mark(MARKS[key]); }
    else if (about?.review && key === "ArrowRight") { done(); go(number + 1); }
    else if (about?.review && key === "ArrowLeft") { done(); go(number - 1); }
  }

  // --- the start

  function describe() {
    document.title = about.name;
    $("name").textContent = about.name;
    $("where").textContent = about.review ? `scan ${number + 1} of ${about.count}` : "";
    if (about.score !== null) $("where").textContent += ` · score ${Math.round(about.score)}`;
    $("note").textContent = about.note;
    for (const [name, sentence] of about.flags) {
      const line = document.createElement("div"), flag = document.createElement("b");
      flag.className = "flag";
      flag.textContent = name;
      line.append(flag, ` ${sentence}`);
      $("doubts").append(line);
    }
    $("navigation").hidden = !about.review;
    $("all").href = `./#scan-${number}`;
    $("previous").disabled = number < 1;
    $("next").disabled = number + 1 >= about.count;
    $("threshold").min = about.limits.threshold;
    $("threshold").value = about.settings.threshold;
    $("border").value = about.settings.border;
    $("threshold").disabled = !about.probability;
    $("no-probability").hidden = about.probability;
    $("border").disabled = $("reset").disabled = !about.mask && !about.probability;
    showMark();
  }

  async function loadMask() {
    if (about.version) {
      showMask(await getMask("&manual=1"), false);
      say(`This is ${about.manual}, saved before.`);
    } else if (about.mask || about.probability) {
      showMask(await getMask(""), false);
    } else {
      showMask(new Uint8Array(about.shape.reduce((a, b) => a * b)), false);
      say("There is no mask yet: draw one.");
    }
    version = about.version;
  }

  function listen() {
    addEventListener("keydown", press, true);
    addEventListener("keyup", (event) => { if (event.key === " " && ready) setOpacity($("opacity").value); }, true);
    addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
    for (const id of ["threshold", "border"]) $(id).addEventListener("input", remake);
    $("opacity").addEventListener("input", () => { setOpacity($("opacity").value); showValues(); });
    $("size").addEventListener("input", () => setSize($("size").value));
    const clicks = { undo, download, reset, save: () => save(), over: () => save(true),
      reload: () => { unsaved = false; location.reload(); },
      previous: () => go(number - 1), next: () => go(number + 1) };
    for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
    const groups = { tools: (b) => b.dataset.tool && choose(b.dataset.tool), views: (b) => look(b.dataset.view), marks: (b) => mark(b.dataset.mark) };
    for (const [id, act] of Object.entries(groups))
      for (const button of $(id).children) button.addEventListener("click", () => act(button));
  }

  async function start() {
    listen();
    about = await (await ask(`about?scan=${number}`)).json();
    describe();
    nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.35, 0.6, 1, 0.55], crosshairWidth: 0.8, crosshairWidthUnit: "mm",
      dragAndDropEnabled: false, multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
      isColorbar: false, showAllOrientationMarkers: true, maxDrawUndoBitmaps: UNDOS + 1, multiplanarPadPixels: 4,
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS, loadingText: "", logLevel: "error", show3Dcrosshair: false,
      clipPlaneHotKey: "", viewModeHotKey: "", cycleClipPlaneHotKey: "", tileMargin: 0,
    });
    await nv.attachTo("canvas");
    const scan = await (await ask(`scan?scan=${number}`)).arrayBuffer();
    await nv.loadFromArrayBuffer(scan, "scan.nii");
    nv.setDrawingEnabled(true);
    nv.drawLut = { ...nv.drawLut, lut: nv.drawLut.lut.map((value, i) => (i >> 2 === 1 ? [...ORANGE, 1][i & 3] * 255 : value)) };
    nv.updateGLVolume();
    await loadMask();
    goToMiddle();
    nv.onDrawingChanged = noteDrawing;
    setOpacity($("opacity").value);
    nv.drawRimOpacity = 1;
    setSize(5);
    look("multiplanar");
    choose("look");
    showValues();
    ready = true;
    $("busy").textContent = "";
    document.body.dataset.ready = "yes"; // for the tests
    window.deskull = { nv };
  }

  start().catch((error) => {
    $("busy").className = "bad";
    $("busy").textContent = about ? `The scan cannot be shown: ${error.message}` : error.message;
    $("navigation").hidden = !about?.review;
  });
})();
