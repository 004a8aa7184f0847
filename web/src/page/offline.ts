/** Working offline, and with threads: what of both the browser and the server allow. */

const MAX_THREADS = 8;
const TRIED = "deskull-isolated";

/** Threads that the networks may use: one, unless the page is isolated. `?threads=N` asks for fewer. */
export function chooseThreads(): number {
  const wished = Number(new URLSearchParams(location.search).get("threads") ?? MAX_THREADS);
  const most = crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  return Math.max(1, Math.min(most, wished || MAX_THREADS, MAX_THREADS));
}

/** Whether nobody has begun to use the page yet, be it only that a file is being chosen. */
export function noteTouch(page: EventTarget): () => boolean {
  let isUntouched = true;
  for (const kind of ["pointerdown", "click", "keydown", "drop"]) {
    page.addEventListener(kind, () => (isUntouched = false), { capture: true, once: true });
  }
  return () => isUntouched;
}

/**
 * Have the service worker keep the page. Where the server sends no headers for threads, the worker
 * does, from the next load on: so the page is loaded once more, if nobody has begun to use it.
 */
export async function goOffline(isUntouched: () => boolean): Promise<void> {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  try {
    await navigator.serviceWorker.register("./service-worker.js");
    await navigator.serviceWorker.ready;
  } catch {
    return; // a browser that forbids it shows the page all the same
  }
  if (crossOriginIsolated || sessionStorage.getItem(TRIED) || !isUntouched()) return;
  sessionStorage.setItem(TRIED, "yes");
  location.reload();
}
