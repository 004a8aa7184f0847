// The page of a cohort: sort, go through the scans by keyboard, mark them, keep the marks.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const report = $("#report"), body = $("#scans").tBodies[0];
  const served = report.dataset.served === "yes", key = "deskull-marks-" + report.dataset.key;
  const marks = ["pass", "fail", "maybe"];
  let current = null;

  const rows = () => [...body.rows];
  const tell = (words) => { $("#trouble").textContent = words; };

  function choose(row) {
    if (!row) return;
    current?.classList.remove("current");
    current = row;
    row.classList.add("current");
    row.scrollIntoView({ block: "nearest" });
    show(row);
    const name = document.createElement("h2");
    name.textContent = row.dataset.name;
    $("#words").replaceChildren(name, row.cells[4].cloneNode(true));
    showMark();
  }

  // Drawn on one canvas: a browser keeps every <img> it has shown, 2 MB each once decoded.
  async function show(row) {
    const { name } = row.dataset, canvas = $("#large");
    const picture = row.dataset.picture || row.querySelector("img")?.getAttribute("src");
    canvas.hidden = !picture;
    canvas.ariaLabel = name;
    if (!picture) return;
    try {
      const bitmap = await createImageBitmap(picture.startsWith("data:") ? decode(picture) : await load(picture));
      if (row === current) {
        [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
      }
      bitmap.close();
    } catch (error) {
      canvas.hidden = true;
      tell(`No picture of ${name}: ${error.message}`);
    }
  }

  function decode(address) {
    const [, kind, content] = address.match(/^data:([^;]*);base64,(.*)$/);
    return new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], { type: kind });
  }

  async function load(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer.blob();
  }

  function showMark() {
    for (const button of document.querySelectorAll("#choices button"))
      button.classList.toggle("chosen", button.dataset.mark === current?.dataset.mark);
    const done = rows().filter((row) => row.dataset.mark).length;
    $("#progress").textContent = `${done} of ${rows().length} marked`;
  }

  function step(by) {
    const all = rows();
    choose(all[Math.min(Math.max(all.indexOf(current) + by, 0), all.length - 1)]);
  }

  function setMark(row, mark) {
    row.dataset.mark = mark;
    row.cells[0].textContent = mark;
  }

  async function give(mark) {
    if (!current) return;
    const row = current;
    setMark(row, mark);
    keep();
    showMark();
    if (mark) step(1);
    if (served) await send(row, mark);
  }

  async function send(row, mark) {
    try {
      const answer = await fetch("marks", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ scan: Number(row.id.slice(5)), mark }),
      });
      if (!answer.ok) throw new Error((await answer.json()).error);
      tell("");
    } catch (error) {
      tell(`This mark is only kept in this browser: ${error.message}`);
    }
  }

  function keep() {
    const kept = Object.fromEntries(
      rows().filter((row) => row.dataset.mark).map((row) => [row.dataset.record, row.dataset.mark]));
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* a browser that keeps nothing */ }
  }

  function recall() {
    if (served) return; // the table beside the data knows better
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(key)) ?? {}; } catch { /* nothing was kept */ }
    for (const row of rows())
      if (marks.includes(kept[row.dataset.record])) setMark(row, kept[row.dataset.record]);
  }

  function download() {
    const clean = (text) => text.replace(/[\t\r\n]/g, " ");
    const lines = rows().map((row) =>
      [row.dataset.record, row.dataset.name, row.dataset.mark].map(clean).join("\t"));
    const text = ["record\tinput\tmark", ...lines].join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
    link.download = "deskull_review.tsv";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function sort(column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = (row) => row.cells[column].textContent.trim();
    const numeric = head.classList.contains("number");
    const compare = (a, b) => {
      if (!text(a) || !text(b)) return (text(a) ? 0 : 1) - (text(b) ? 0 : 1); // nothing comes last
      const order = numeric ? text(a) - text(b) : text(a).localeCompare(text(b), undefined, { numeric: true });
      return down ? -order : order;
    };
    body.append(...rows().sort(compare));
  }

  function open() {
    current?.querySelector("a")?.click();
  }

  const keys = {
    ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
    p: () => give("pass"), f: () => give("fail"), m: () => give("maybe"), u: () => give(""), Enter: open,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    if (event.key === "Enter" && event.target.closest("a, button")) return;
    event.preventDefault();
    keys[event.key]();
  });
  body.addEventListener("click", (event) => { if (!event.target.closest("a")) choose(event.target.closest("tr")); });
  [...$("#scans").tHead.rows[0].cells].forEach((head, column) =>
    head.firstChild.addEventListener("click", () => sort(column, head)));
  for (const button of document.querySelectorAll("#choices button"))
    button.addEventListener("click", () => give(button.dataset.mark));
  $("#download")?.addEventListener("click", download);
  const follow = () => choose(body.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`));
  addEventListener("hashchange", follow);
  recall();
  choose(rows()[0]);
  if (location.hash) follow();
})();
