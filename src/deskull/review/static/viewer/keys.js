// Which key does what: one that a field or button of the page wants is left to it.

const $ = (id) => document.getElementById(id);
const WITH_COMMAND = ["z", "Z", "y", "s"]; // ctrl or cmd changes nothing about these

/**
 * Let keys act.
 * @param {object} keys      what each does, by its name
 * @param {object} always    the same, of those that act while no scan is shown
 * @param {object} pen       by keyboard: move, press and lift
 * @param {() => boolean} isReady  whether a scan is shown
 * @param {() => void} adopt  called before a key acts on a scan
 */
export function listenToKeys(keys, always, pen, isReady, adopt) {
  const find = (event) => {
    const { key } = event, command = event.ctrlKey || event.metaKey;
    if (event.shiftKey && key.startsWith("Arrow")) return isReady() && (() => pen.move(key, command));
    if (key === "Enter") return isReady() && (() => pen.press());
    if (command && !WITH_COMMAND.includes(key)) return null;
    const act = always[key] ?? (isReady() ? keys[key] : null);
    return act && (() => { pen.lift(); act(); });
  };
  addEventListener("keydown", (event) => {
    if (event.altKey || isWanted(event) || ($("keys").open && event.key !== "?")) return;
    const act = find(event);
    if (!act) return;
    event.preventDefault();
    if (isReady()) adopt();
    act();
  }, true);
}

// Whether what has the focus needs the key itself.
function isWanted({ key, target }) {
  if (target.matches("input:not([type=range], [type=checkbox]), select")) return true;
  if (target.matches("input[type=range]")) return /^(Arrow|Page|Home|End)/.test(key);
  return target.matches("button, summary, input, a") && (key === " " || key === "Enter");
}
