// Keeps an open page fresh. The socket carries hints ("alerts of your sites changed"); for each one an event
// `hint:<topic>` goes to the body, and whatever shows that topic fetches its part of the page again.
(() => {
  "use strict";
  const TOPICS = ["alerts", "work", "readings"];
  const MS_BETWEEN_HINTS = 500;
  // A server that takes long to answer is asked less often, or hundreds of pages would keep it from answering anybody.
  const PATIENCE = 10;
  const LONGEST_WAIT_MS = 30000;
  const SIGNED_OUT = 4401;

  let msBetween = MS_BETWEEN_HINTS;
  document.addEventListener("htmx:beforeRequest", (event) => (event.detail.xhr.askedAt = performance.now()));
  document.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => {
    const took = performance.now() - xhr.askedAt;
    msBetween = Math.min(Math.max(MS_BETWEEN_HINTS, PATIENCE * took), LONGEST_WAIT_MS);
  });

  const sentAt = {};
  const held = {};

  // At most two events a second for each topic; the last one always goes out.
  function hint(topic, asset) {
    if (topic in held) {
      held[topic] = held[topic] === asset ? asset : null;
      return;
    }
    const wait = (sentAt[topic] ?? -Infinity) + msBetween - performance.now();
    if (wait <= 0) {
      dispatch(topic, asset);
      return;
    }
    held[topic] = asset;
    setTimeout(() => {
      const last = held[topic];
      delete held[topic];
      dispatch(topic, last);
    }, wait);
  }

  function dispatch(topic, asset) {
    sentAt[topic] = performance.now();
    document.body.dispatchEvent(new CustomEvent(`hint:${topic}`, { detail: { asset } }));
  }

  const fetchAll = () => TOPICS.forEach((topic) => hint(topic, null));

  const WORDS = { live: "Live", reconnecting: "Reconnecting…", "signed-out": "Signed out" };
  function show(state) {
    const dot = document.getElementById("live");
    if (!dot || dot.dataset.state === state) return;
    dot.dataset.state = state;
    dot.textContent = WORDS[state];
  }

  let socket = null;
  let failures = 0;
  let timer = 0;
  let signedOut = false;

  function connect() {
    clearTimeout(timer);
    if (signedOut) return;
    const address = new URL(document.body.dataset.live, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const mine = new WebSocket(address);
    socket = mine;
    mine.onopen = () => {
      failures = 0;
      show("live");
      // Hints may have been missed while nobody listened: fetch everything once.
      fetchAll();
    };
    mine.onmessage = (message) => {
      const { topic, asset } = JSON.parse(message.data);
      hint(topic, asset);
    };
    mine.onclose = (event) => {
      if (mine !== socket) return;
      socket = null;
      if (event.code === SIGNED_OUT) {
        signedOut = true;
        show("signed-out");
        return;
      }
      show("reconnecting");
      // Doubling up to half a minute, with chance mixed in so that a restart is not met by every page at once.
      const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
      failures += 1;
      timer = setTimeout(connect, wait);
    };
  }

  // A machine that slept does not know that its connection is gone: nothing was there to tell it. Its clock tells: these
  // ticks were due every second. (Hidden pages tick once a minute; connecting again costs them little.)
  const TICK_MS = 1000;
  const SLEPT_MS = 10000;
  let tickedAt = Date.now();

  function tick() {
    const slept = Date.now() - tickedAt > SLEPT_MS;
    tickedAt = Date.now();
    if (slept && document.visibilityState === "visible") startAfresh();
  }

  function startAfresh() {
    failures = 0;
    msBetween = MS_BETWEEN_HINTS;
    const old = socket;
    connect();
    old?.close();
    fetchAll();
  }

  function wakeUp() {
    if (document.visibilityState !== "visible") return;
    if (Date.now() - tickedAt > SLEPT_MS) tick();
    else if (!socket) startAfresh();
  }

  const seen = new WeakMap();

  // A person who is typing, or reads an opened part, is not to have it swapped away under their hands.
  function isInUse(target) {
    const active = document.activeElement;
    const typing = target.contains(active) && active.matches("input, select, textarea");
    const begun = [...target.querySelectorAll("textarea, input[type=text], input[type=number]")].some((f) => f.value !== f.defaultValue);
    const ticked = [...target.querySelectorAll("input[type=radio], input[type=checkbox]:not(.filters *)")].some((f) => f.checked !== f.defaultChecked);
    return typing || begun || ticked || target.querySelector("details[open], .errorlist") !== null;
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, requestConfig } = event.detail;
    if (requestConfig.verb !== "get") return;
    const asked = new URL(requestConfig.path, location.href).pathname;
    if (new URL(xhr.responseURL || location.href).pathname !== asked) {
      // Redirected to the login page: show that, not a login form inside a panel.
      event.detail.shouldSwap = false;
      location.reload();
      return;
    }
    if (seen.get(target) === xhr.responseText) {
      event.detail.shouldSwap = false;
    } else if (isInUse(target)) {
      event.detail.shouldSwap = false;
      postponed = true;
    } else if (event.detail.shouldSwap) {
      seen.set(target, xhr.responseText);
    }
  });

  // What was not swapped in while somebody was busy there is fetched again when they may be done.
  let postponed = false;
  function catchUp() {
    if (!postponed) return;
    postponed = false;
    fetchAll();
  }
  document.addEventListener("focusout", catchUp);
  document.addEventListener("toggle", catchUp, true);

  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    target.classList.add("filled");
    target.removeAttribute("aria-busy");
    const news = target.querySelector("[data-announce]")?.dataset.announce;
    const before = target.dataset.announced;
    target.dataset.announced = news ?? "";
    // The first filling is no news.
    if (news && before !== undefined && before !== news) document.getElementById("news").textContent = news;
  });

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.body.dataset.live) return;
    connect();
    setInterval(tick, TICK_MS);
    addEventListener("online", startAfresh);
    addEventListener("pageshow", (event) => event.persisted ? startAfresh() : wakeUp());
    document.addEventListener("visibilitychange", wakeUp);
  });

  // An open menu closes on Escape and on a tap elsewhere.
  const closeMenus = (except) =>
    document.querySelectorAll("details.menu[open]").forEach((menu) => menu !== except && menu.removeAttribute("open"));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(null));
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
})();
