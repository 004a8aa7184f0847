/**
 * Lets the page work offline, and gives it threads where the server sends no headers for them.
 *
 * All files of the page are kept at the first visit, those for the graphics card at their first use. Each answer carries the two headers by which
 * a browser isolates a page, the condition for memory that threads share.
 */

/// <reference lib="webworker" />

const scope = self as unknown as ServiceWorkerGlobalScope;

// The build puts the list of files here.
const { version, files, later } = JSON.parse(String.raw`__FILES__`) as Record<"files" | "later", string[]> & { version: string };
const OWN = `deskull ${scope.registration.scope} `; // another copy of the page on this server has a cache of its own
const CACHE = OWN + version;

scope.addEventListener("install", (event) => {
  // from the server: what the browser has kept of an older page names files that are gone
  const requests = ["./", ...files.map((name) => `./${name}`)].map((url) => new Request(url, { cache: "reload" }));
  const keep = async () => (await caches.open(CACHE)).addAll(requests);
  const isFirst = !scope.registration.active; // else pages are open that need the files of the older one until they are closed
  event.waitUntil(keep().then(() => (isFirst ? scope.skipWaiting() : undefined)));
});

scope.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(OWN) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await scope.clients.claim();
  };
  event.waitUntil(clean());
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === scope.location.origin) event.respondWith(answer(request));
});

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolate(kept);
  const response = await fetch(request);
  if (response.ok && later.some((name) => request.url.endsWith(name))) await cache.put(request, response.clone());
  return isolate(response);
}

function isolate(response: Response): Response {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
