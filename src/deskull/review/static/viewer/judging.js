// The judgement of a scan in a review: its mark, by whom and when; the comment stays as it is.

import { send } from "./server.js";

/** Save a mark for the mask that is shown. @returns {Promise<void>} */
export async function judge(number, about, mark) {
  const { mask_sha256, tags, comment } = about;
  const said = await (await send("marks", JSON.stringify({ scan: number, mark, mask_sha256, tags, comment }))).json();
  Object.assign(about, { mark, marked: said.marked, by: said.by });
  showJudgement(about);
}

export function showJudgement(about) {
  for (const button of document.getElementById("marks").children)
    button.setAttribute("aria-pressed", button.dataset.mark === about?.mark);
  document.getElementById("judged").textContent = about?.mark ? `${about.by} ${about.marked}` : "";
}
