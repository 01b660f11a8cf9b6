// Keeps the work-order pages that were opened today, for when there is no network. Only what the browser gets is kept;
// another day, another person and a log-out begin afresh.
"use strict";
const person = new URL(location).searchParams.get("user");
const today = () => `work-${person}-${new Date().toISOString().slice(0, 10)}`;

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("work-") && name !== today()).map((name) => caches.delete(name)));
}

async function ask(request) {
  try {
    const answer = await fetch(request);
    if (answer.ok && !answer.redirected) {
      const cache = await caches.open(today());
      await cache.put(request, answer.clone());
      await forgetOthers();
    }
    return answer;
  } catch (error) {
    await forgetOthers();
    const kept = await caches.match(request, { ignoreVary: true });
    if (kept) return kept;
    if (request.mode !== "navigate") throw error;
    const words = "There is no network, and this page was not opened today.";
    return new Response(words, { status: 503, headers: { "Content-Type": "text/plain; charset=utf-8" } });
  }
}

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(forgetOthers().then(() => clients.claim())));
addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const isFile = url.pathname.startsWith("/static/");
  const isPage = request.mode === "navigate" && url.pathname.startsWith("/work-orders/");
  if (request.method === "GET" && url.origin === location.origin && (isFile || isPage)) event.respondWith(ask(request));
});
