// The text beside the picture: what is known of a scan, its mark, and the values of what is shown.

const $ = (id) => document.getElementById(id);

/** Remove all that the page says of the scan before, and what it asks about it. */
export function forget(number) {
  for (const id of ["name", "where", "note", "volume", "under", "stripping"]) $(id).textContent = "";
  $("doubts").replaceChildren();
  $("conflict").hidden = true;
  $("strip").disabled = false;
  $("busy").className = "";
  $("busy").textContent = `opening scan ${number + 1} …`;
  showMark(null);
}

export function describe(number, about) {
  document.title = $("name").textContent = about.name;
  $("where").textContent = (about.review ? `scan ${number + 1} of ${about.count}` : "") + (about.score === null ? "" : ` · score ${Math.round(about.score)}`);
  $("note").textContent = about.note;
  $("all").href = `./#scan-${number}`;
  const kinds = { automatic: about.mask, reference: about.reference };
  for (const option of $("compare").options) option.hidden = option.value in kinds && !kinds[option.value];
  $("compare").value = "nothing";
  describePlace(number, about);
  describeDoubts(about.flags);
  describeMask(about);
  showMark(about);
}

/** Where the scan lies among all; one that cannot be shown can still be left. */
export function describePlace(number, { review, count }) {
  $("navigation").hidden = !review;
  $("previous").disabled = number < 1;
  $("next").disabled = number + 1 >= count;
}

export function describeDoubts(flags) {
  $("doubts").replaceChildren(...flags.map(([name, sentence]) => {
    const line = document.createElement("div"), flag = document.createElement("b");
    [flag.className, flag.textContent] = ["flag", name];
    line.append(flag, ` ${sentence}`);
    return line;
  }));
}

export function describeMask(about) {
  $("threshold").min = about.limits.threshold;
  $("threshold").disabled = !about.probability;
  $("no-probability").hidden = about.probability || !about.can_strip;
  $("why").hidden = !about.mask && !about.version; // it is stripped at once
  $("reset").textContent = about.own ? "Take deskull's own mask" : "Reset to the automatic mask";
  $("border").disabled = $("reset").disabled = !about.mask && !about.probability;
}

export function describeFailed(error) {
  $("busy").className = "bad";
  $("busy").textContent = `The scan cannot be shown: ${error.message}`;
}

/** The message about a mask that was saved. @returns {[string, string]} text and its kind */
export function describeSaved(name, { old, reason, command, remade, given = [], refused = [] }) {
  const outputs = old.length ? `${old.join(", ")} is still of the automatic mask${reason ? ` (${reason})` : ""}. Make it again: ${command}`
    : remade.length ? `${remade.join(", ")} made again from it.` : "There is no brain to make again.";
  const session = given.length ? ` The other scans of the session got it too: ${given.join(", ")}.` : "";
  const others = refused.map((text) => ` Not so ${text}`).join("");
  return [`Saved as ${name}. ${outputs}${session}${others}`, old.length || refused.length ? "bad" : "good"];
}

export function showValues() {
  $("fill-value").textContent = `${Math.round($("fill").value * 100)} %`;
  $("radius-value").textContent = `${$("radius").value} mm`;
}

export function showMark(about) {
  for (const button of $("marks").children) button.setAttribute("aria-pressed", button.dataset.mark === about?.mark);
  $("judged").textContent = about?.mark ? `${about.by} ${about.marked}` : "";
}
