// Forms of work orders on a bad network: what was filled in is kept on the device until the server has answered, and sent
// again when the connection is back. The server takes a repeat for what it is, so that nothing is done twice.
(() => {
  "use strict";
  const STORE = `kept-${document.currentScript.dataset.user}`;
  const MS_BETWEEN_TRIES = 10000;
  const LOGIN = "/accounts/";

  const read = () => JSON.parse(localStorage.getItem(STORE) ?? "[]");
  const write = (kept) => localStorage.setItem(STORE, JSON.stringify(kept));
  const drop = (id) => write(read().filter((other) => other.id !== id));

  function invented() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function keep(form, button) {
    const key = form.elements.namedItem("key");
    if (key) key.value ||= invented();
    const fields = new URLSearchParams(new FormData(form));
    if (button?.name) fields.append(button.name, button.value);
    const place = { page: location.pathname, stay: form.matches(".tasks form") };
    write([...read(), { id: invented(), url: form.action, label: form.dataset.keep, body: fields.toString(), ...place }]);
  }

  // The token may have changed since, by a login that came in between.
  function body(one) {
    const fields = new URLSearchParams(one.body);
    const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
    if (token) fields.set("csrfmiddlewaretoken", token);
    return fields;
  }

  const WAIT = "It is sent when the connection is back; this page need not stay open.";

  // Null: the server has answered, and the form is no longer kept. Otherwise why it still is.
  async function send(one) {
    let answer;
    try {
      answer = await fetch(one.url, { method: "POST", body: body(one), credentials: "same-origin" });
    } catch {
      return WAIT;
    }
    if (answer.status >= 500 || answer.status === 429 || answer.status === 408) return WAIT;
    if (new URL(answer.url).pathname.startsWith(LOGIN)) return "Log in again to send it.";
    if (!answer.ok && answer.status !== 422) return `The server refused it (${answer.status}).`;
    const text = await answer.text().catch(() => null);
    if (text === null) return WAIT;
    drop(one.id);
    if (one.page === location.pathname) show(text, answer.status === 422 ? null : answer.url, one.stay);
    return null;
  }

  // The page that answers takes the place of this one.
  function show(text, url, stay) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const main = document.importNode(page.getElementById("main"), true);
    document.getElementById("main").replaceWith(main);
    document.title = page.title;
    if (url) history.replaceState(null, "", url);
    window.htmx?.process(main);
    if (!stay) scrollTo(0, 0);
  }

  let sending = false;
  let timer = 0;

  // One after the other in the order of the taps: an order is started before it is closed.
  async function sendAll() {
    if (sending) return;
    sending = true;
    clearTimeout(timer);
    let why = null;
    for (let one = read()[0]; one && why === null; one = read()[0]) why = await send(one);
    sending = false;
    tell(why);
    if (why !== null) timer = setTimeout(sendAll, MS_BETWEEN_TRIES);
  }

  function tell(why) {
    document.getElementById("kept")?.remove();
    const kept = read();
    if (why === null || !kept.length) return;
    const note = document.createElement("div");
    note.id = "kept";
    note.className = "message warning";
    note.setAttribute("role", "status");
    const words = document.createElement("p");
    words.textContent = `Not sent yet: ${kept.map((one) => one.label).join(", ")}. ${why}`;
    note.append(words, button("Send now", sendAll), button("Discard", discard));
    document.getElementById("main").prepend(note);
  }

  function button(label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "button";
    made.textContent = label;
    made.addEventListener("click", act);
    return made;
  }

  function discard() {
    if (!confirm("Discard what was not sent?")) return;
    write([]);
    location.reload();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.keep) return;
    try {
      keep(form, event.submitter);
    } catch {
      return; // No room to keep it: it is sent as a plain form.
    }
    event.preventDefault();
    form.inert = true;
    sendAll();
  });

  addEventListener("online", sendAll);
  document.addEventListener("DOMContentLoaded", () => read().length && sendAll());

  // Pages that were opened today are kept for when there is no network; they are one person's, and go with the login.
  const worker = document.currentScript.dataset.worker;
  if (worker && "serviceWorker" in navigator) navigator.serviceWorker.register(worker).catch(() => {});
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-logout]") || !("caches" in window)) return;
    caches.keys().then((names) => names.filter((name) => name.startsWith("work-")).forEach((name) => caches.delete(name)));
  });
})();
