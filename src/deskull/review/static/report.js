// The page of a cohort: choose, filter and sort scans, look at them, mark them, keep the marks.
// A scan can be marked only while its own picture is on the screen, and the mark carries the hash
// of the mask in that picture.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const report = $("report"), list = $("cards"), cards = [...list.children];
  const served = report.dataset.served === "yes", key = "deskull-marks-" + report.dataset.key;
  const AHEAD = 2, GROUP = 10, MARKS = { p: "pass", f: "fail", m: "maybe", u: "" };
  let current = null, order = null, zoomed = null;

  function say(text, bad = false) {
    $("trouble").textContent = text;
    $("trouble").classList.toggle("bad", bad);
  }

  // --- pictures

  const loading = new Map(); // card -> promise

  const isShown = (card) => $("zoom").open ? zoomed === card : !card.querySelector(".frame") || card.dataset.shown === "yes";

  // Fetch the picture of a card; what it is of comes with it.
  function load(card) {
    const image = card.querySelector("img");
    if (!image || card.dataset.shown === "yes") return Promise.resolve();
    if (!loading.has(card)) {
      const frame = card.querySelector(".frame");
      frame.classList.add("waiting");
      frame.setAttribute("aria-busy", "true");
      loading.set(card, show(card, image).then(() => {
        card.dataset.shown = "yes";
        frame.classList.remove("waiting");
        frame.setAttribute("aria-busy", "false");
        for (const copy of document.querySelectorAll(`#worst [data-of="${card.id}"]`)) copy.src = image.src;
        if (card === current) say("");
      }).catch((error) => {
        if (card === current) say(`No picture of ${card.dataset.name}: ${error.message}`, true);
      }).finally(() => loading.delete(card)));
    }
    return loading.get(card);
  }

  async function show(card, image) {
    if (served) {
      const answer = await get(card.dataset.card);
      card.dataset.mask = answer.headers.get("Deskull-Mask") ?? "";
      if (image.src) URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(await answer.blob());
    } else {
      const place = `picture-${card.dataset.index}`;
      await arrive(place);
      image.src = readPicture(place);
    }
    await image.decode();
    [image.width, image.height] = [image.naturalWidth, image.naturalHeight];
  }

  // The pictures of a page from disk lie behind this script: wait until one is there as a whole.
  async function arrive(place) {
    while (!$(place)?.nextElementSibling && document.readyState === "loading") await new Promise((go) => setTimeout(go, 30));
  }

  const readPicture = (place) => $(place).textContent.match(/"(data:image[^"]*)"/)[1];

  // On paper all are needed, and at once.
  function showAll() {
    for (const card of cards) {
      const image = card.querySelector("img"), place = `picture-${card.dataset.index}`;
      if (image && !image.src && $(place)) image.src = readPicture(place);
    }
  }

  async function get(address, options) {
    const answer = await fetch(address, options).catch(() => {
      throw new Error("deskull does not answer. Does it still run in the terminal?");
    });
    if (answer.ok) return answer;
    const problem = new Error((await answer.json()).error);
    problem.status = answer.status;
    throw problem;
  }

  // Blank first, then the slices in all planes: never those of another scan.
  async function zoom(card) {
    const canvas = $("large"), pen = canvas.getContext("2d");
    zoomed = null;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    $("zoom-name").textContent = card.dataset.name;
    $("zoom-doubts").textContent = "loading …";
    canvas.ariaLabel = `slices of ${card.dataset.name} in all planes`;
    try {
      if (!served) await arrive(`large-${card.dataset.index}`);
      const address = card.dataset.picture || $(`large-${card.dataset.index}`)?.dataset.picture || card.querySelector("img")?.src;
      if (!address) throw new Error("it has no picture");
      const answer = served ? await get(address) : null;
      const bitmap = await createImageBitmap(answer ? await answer.blob() : decode(address));
      if (card !== current || !$("zoom").open) return bitmap.close();
      if (answer) card.dataset.mask = answer.headers.get("Deskull-Mask") ?? "";
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      pen.drawImage(bitmap, 0, 0);
      bitmap.close();
      zoomed = card;
      $("zoom-doubts").textContent = card.querySelector(".doubts").textContent;
    } catch (error) {
      if (card === current) $("zoom-doubts").textContent = `no picture: ${error.message}`;
    }
  }

  function decode(address) {
    const [, kind, content] = address.match(/^data:([^;]*);base64,(.*)$/);
    return new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], { type: kind });
  }

  // --- which scan

  function choose(card, scroll = true) {
    if (!card) return;
    current?.classList.remove("current");
    current?.removeAttribute("aria-current");
    current = card;
    card.classList.add("current");
    card.setAttribute("aria-current", "true");
    if (scroll) card.scrollIntoView({ block: "nearest" });
    say("");
    const place = order.indexOf(card);
    for (const near of [card, ...order.slice(place + 1, place + 1 + AHEAD)]) load(near);
    if ($("zoom").open) zoom(card);
  }

  function step(by) {
    const place = order.indexOf(current);
    choose(order[Math.min(Math.max(place + by, 0), order.length - 1)]);
  }

  function goToUnmarked() {
    const place = order.indexOf(current);
    const next = [...order.slice(place + 1), ...order.slice(0, place + 1)].find((card) => !card.dataset.mark);
    if (next) choose(next);
    else say("All scans that are shown here are marked.");
  }

  const isOnScreen = (card) => {
    const box = (card.querySelector(".frame") ?? card).getBoundingClientRect();
    return Math.min(box.bottom, innerHeight) - Math.max(box.top, 0) > 0.4 * Math.min(box.height, innerHeight);
  };

  // --- filters and order

  const TESTS = {
    all: () => true, unmarked: (card) => !card.dataset.mark, doubtful: (card) => card.dataset.doubtful,
    failed: (card) => card.dataset.status !== "done", corrected: (card) => card.dataset.corrected,
  };

  function filter() {
    const kind = $("show").value, text = $("search").value.toLowerCase();
    const [low, high] = [Number($("low").value || 0), Number($("high").value || 100)];
    const fits = TESTS[kind] ?? ((card) => card.dataset.mark === kind);
    const hasScore = (card) => card.dataset.score === "" ? low <= 0 : card.dataset.score >= low && card.dataset.score <= high;
    const hasText = (card) => !text || `${card.dataset.name} ${card.querySelector(".doubts").textContent} ${card.dataset.tags} ${card.querySelector(".comment").value}`.toLowerCase().includes(text);
    for (const card of cards) card.hidden = !(fits(card) && hasScore(card) && hasText(card));
    arrange(cards.filter((card) => !card.hidden).sort(compare));
    $("count").textContent = order.length < cards.length ? `${order.length} of ${cards.length} shown` : "";
    if (current && !current.hidden) current.scrollIntoView({ block: "nearest" });
    else if (order.length) choose(order[0], false);
  }

  // Cards lie in groups: to watch each of a thousand cards costs a browser more than to draw them.
  function arrange(shown) {
    if (order && shown.length === order.length && shown.every((card, place) => card === order[place])) return;
    order = shown;
    nearGroups.disconnect();
    nearCards.disconnect();
    const groups = [];
    for (let first = 0; first < order.length; first += GROUP) {
      const group = document.createElement("div"), held = order.slice(first, first + GROUP);
      group.className = "group";
      group.style.containIntrinsicSize = `auto ${held.reduce((sum, card) => sum + (card.matches(".no-picture") ? 110 : 560), 0)}px`;
      group.append(...held);
      groups.push(group);
    }
    list.replaceChildren(...groups);
    for (const group of groups) nearGroups.observe(group);
  }

  const NEAR = { rootMargin: "100% 0px" };
  const nearGroups = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries)
      for (const card of target.children) isIntersecting ? nearCards.observe(card) : nearCards.unobserve(card);
  }, NEAR);
  const nearCards = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) load(target);
  }, NEAR);

  function compare(a, b) {
    const by = $("sort").value, [one, other] = [a.dataset[by], b.dataset[by]];
    if (one === "" || other === "") return (one === "") - (other === "") || a.dataset.index - b.dataset.index;
    const apart = by === "name" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
    return apart || a.dataset.index - b.dataset.index;
  }

  // --- marks

  function give(mark) {
    if (!current) return;
    if ($("zoom").open ? zoomed !== current : !isShown(current)) {
      say(`Not marked: the picture of ${current.dataset.name} is not shown yet.`, true);
      load(current);
    } else if (!$("zoom").open && !isOnScreen(current)) {
      current.scrollIntoView({ block: "nearest" });
      say(`Not marked: ${current.dataset.name} was off the screen. Look at it, then mark it.`, true);
    } else {
      const card = current, before = card.dataset.mark;
      card.dataset.mark = mark;
      send(card, () => { card.dataset.mark = before; });
      if (mark) step(1);
    }
  }

  const read = (card) => ({ mark: card.dataset.mark, mask_sha256: card.dataset.mask,
    tags: card.dataset.tags.split(";").filter(Boolean), comment: card.querySelector(".comment").value });

  async function send(card, revert = () => {}) {
    showMark(card);
    showProgress();
    const judged = read(card);
    try {
      if (served) {
        const answer = await get("marks", { method: "POST", headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ scan: Number(card.dataset.index), ...judged }) });
        const said = await answer.json();
        card.querySelector(".who").textContent = judged.mark || judged.comment || judged.tags.length ? `${said.by} ${said.marked}` : "";
      } else keep(card, judged);
    } catch (error) {
      revert();
      showMark(card);
      showProgress();
      if (error.status === 409) { card.dataset.shown = ""; choose(card); await load(card); }
      say(`${card.dataset.name}: ${error.message}`, true);
    }
  }

  function showMark(card) {
    const tags = card.dataset.tags.split(";");
    for (const button of card.querySelectorAll(".judge button")) {
      const { mark, tag } = button.dataset;
      button.setAttribute("aria-pressed", tag ? tags.includes(tag) : card.dataset.mark === mark);
    }
  }

  function showProgress() {
    const done = cards.filter((one) => one.dataset.mark).length;
    $("progress").textContent = `${done} of ${cards.length} marked`;
    $("done").value = done;
  }

  function toggle(card, tag) {
    const tags = new Set(card.dataset.tags.split(";").filter(Boolean)), before = card.dataset.tags;
    if (!tags.delete(tag)) tags.add(tag);
    card.dataset.tags = [...tags].join(";");
    send(card, () => { card.dataset.tags = before; });
  }

  // --- what a page from disk keeps in the browser

  const recall = () => { try { return JSON.parse(localStorage.getItem(key)) ?? {}; } catch { return {}; } };

  function keep(card, judged) {
    const kept = recall(), one = { ...judged, marked: new Date().toISOString().slice(0, 19) + "Z" };
    kept[card.dataset.record] = one;
    sign(card, one);
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { say("This browser keeps no marks: download them before you close the page.", true); }
  }

  // Of which mask a judgement is, and when it was given; a page from disk does not know by whom.
  function sign(card, { mask_sha256, marked }) {
    Object.assign(card.dataset, { judged: mask_sha256, marked, by: "" });
    card.querySelector(".who").textContent = marked;
  }

  function restore() {
    if (served) return; // the table beside the data knows better
    const kept = recall();
    for (const card of cards) {
      const one = kept[card.dataset.record];
      if (typeof one !== "object" || one === null || !(one.marked > card.dataset.marked)) continue;
      if (one.mask_sha256 !== card.dataset.mask) {
        card.querySelector(".who").textContent += ` (${one.mark || "comment"} kept in this browser is of an earlier mask)`;
        continue;
      }
      sign(card, one);
      card.dataset.mark = Object.values(MARKS).includes(one.mark) ? one.mark : "";
      card.dataset.tags = (one.tags ?? []).join(";");
      card.querySelector(".comment").value = one.comment ?? "";
    }
  }

  function download() {
    const clean = (text) => String(text ?? "").replace(/[\t\r\n]/g, " ");
    const toCell = (text) => clean(text).includes('"') ? `"${clean(text).replaceAll('"', '""')}"` : clean(text);
    const columns = ["record", "input", "mark", "marked", "by", "mask_sha256", "tags", "comment", "schema"];
    const lines = cards.filter((card) => card.dataset.mark || card.dataset.tags || read(card).comment).map((card) => {
      const { record, name, mark, marked, by, judged, tags } = card.dataset;
      return [record, name, mark, marked, by, judged, tags, read(card).comment, 2].map(toCell).join("\t");
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[columns.join("\t"), ...lines].join("\n") + "\n"], { type: "text/tab-separated-values" }));
    link.download = "deskull_review.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // --- keys and clicks

  function toggleZoom() {
    if ($("zoom").open) return $("zoom").close();
    if (!current?.querySelector(".frame")) return say(`${current?.dataset.name}: no picture.`);
    $("zoom").showModal();
    zoom(current);
  }

  const KEYS = {
    ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
    n: goToUnmarked, " ": toggleZoom, Enter: () => current?.querySelector("h2 a")?.click(),
    c: () => { $("zoom").close(); current?.querySelector(".comment").focus(); },
    "/": () => $("search").focus(), "?": () => $("keys").open ? $("keys").close() : $("keys").showModal(),
  };
  for (const [letter, mark] of Object.entries(MARKS)) KEYS[letter] = () => give(mark);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (["Enter", " "].includes(event.key) && event.target.closest("a, button") && event.target.closest("a, button") !== current?.querySelector(".frame")) return;
    if (!KEYS[event.key] || ($("keys").open && event.key !== "?")) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  list.addEventListener("click", (event) => {
    const card = event.target.closest(".card"), button = event.target.closest("button");
    if (!card) return;
    choose(card, false);
    if (button?.dataset.mark !== undefined) give(card.dataset.mark === button.dataset.mark ? "" : button.dataset.mark);
    else if (button?.dataset.tag) toggle(card, button.dataset.tag);
    else if (button?.matches(".frame")) toggleZoom();
  });
  list.addEventListener("focusin", (event) => choose(event.target.closest(".card"), false));
  list.addEventListener("change", (event) => { if (event.target.matches(".comment")) send(event.target.closest(".card")); });
  $("unmarked").addEventListener("click", goToUnmarked);
  $("help").addEventListener("click", KEYS["?"]);
  $("download")?.addEventListener("click", download);
  for (const id of ["show", "low", "high", "search", "sort"]) $(id).addEventListener("input", filter);
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.addEventListener("click", (event) => { if (event.target === dialog || dialog.id === "zoom") dialog.close(); });
  addEventListener("hashchange", follow);
  if (!served) addEventListener("beforeprint", showAll);

  function follow() {
    const card = cards.find((one) => `#${one.id}` === location.hash);
    if (card?.hidden) { for (const [id, value] of [["show", "all"], ["low", 0], ["high", 100], ["search", ""]]) $(id).value = value; filter(); }
    choose(card);
  }

  restore();
  for (const card of cards) if (card.dataset.mark || card.dataset.tags) showMark(card);
  arrange(cards);
  showProgress();
  choose(cards[0], false);
  for (const copy of document.querySelectorAll("#worst img")) load($(copy.dataset.of));
  if (location.hash) follow();
})();
