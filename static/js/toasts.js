// New critical alerts in a corner of every page until somebody takes them on or dismisses them, and how many alerts are
// open in the title. What is shown is always what the server says now; only what was dismissed or heard is kept here.
(() => {
  "use strict";
  const KEPT = 100;
  const place = document.querySelector(".toasts");
  const list = document.getElementById("toasts");
  const plainTitle = document.title;

  // Of this tab: what was dismissed, what was announced, and the server's time when it was opened.
  const recall = (name) => JSON.parse(sessionStorage.getItem(`critical-${name}`) ?? "[]");
  function keep(name, id) {
    sessionStorage.setItem(`critical-${name}`, JSON.stringify([...recall(name), id].slice(-KEPT)));
  }

  let asking = false;
  let askAgain = false;

  // One question at a time; what changes meanwhile is asked for afterwards.
  async function ask() {
    if (asking) {
      askAgain = true;
      return;
    }
    asking = true;
    try {
      const address = new URL(place.dataset.url, location.href);
      const since = sessionStorage.getItem("critical-since");
      if (since) address.searchParams.set("since", since);
      const answer = await fetch(address, { signal: AbortSignal.timeout(15000) });
      if (answer.ok && !answer.redirected) show(new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-now]"));
    } catch {
      // The next hint, or the socket's return, asks again.
    }
    asking = false;
    if (askAgain) {
      askAgain = false;
      ask();
    }
  }

  function show(said) {
    if (!sessionStorage.getItem("critical-since")) sessionStorage.setItem("critical-since", said.dataset.now);
    count(said.dataset.waiting);
    const dismissed = recall("dismissed");
    const wanted = [...said.querySelectorAll(".toast")].filter((toast) => !dismissed.includes(toast.id));
    for (const old of [...list.children]) if (!wanted.some((toast) => toast.id === old.id)) old.remove();
    for (const toast of wanted.reverse()) if (!document.getElementById(toast.id)) list.prepend(toast);
    const more = document.getElementById("more-critical");
    more.hidden = !said.dataset.more || !wanted.length;
    if (said.dataset.more) more.href = said.dataset.more;
    place.hidden = !list.children.length;
    announce(wanted);
  }

  function announce(toasts) {
    const heard = recall("heard");
    const news = toasts.filter((toast) => !heard.includes(toast.id));
    if (!news.length) return;
    news.forEach((toast) => keep("heard", toast.id));
    document.getElementById("critical-news").textContent = news.map((toast) => toast.querySelector("a").textContent).join(". ");
    if (soundIsOn()) beep();
  }

  function count(waiting) {
    document.title = waiting === "0" ? plainTitle : `(${waiting}) ${plainTitle}`;
    const badge = document.getElementById("waiting");
    if (!badge) return;
    badge.hidden = waiting === "0";
    badge.textContent = waiting;
    badge.setAttribute("aria-label", `${waiting} open`);
  }

  function dismiss(toast) {
    keep("dismissed", toast.id);
    const next = toast.nextElementSibling ?? toast.previousElementSibling;
    toast.remove();
    place.hidden = !list.children.length;
    (next?.querySelector(".dismiss") ?? document.getElementById("main")).focus();
  }

  list.addEventListener("click", (event) => {
    const toast = event.target.closest(".toast");
    if (event.target.closest(".dismiss")) dismiss(toast);
    else if (event.target.closest("a")) keep("dismissed", toast.id);
  });
  list.addEventListener("keydown", (event) => event.key === "Escape" && dismiss(event.target.closest(".toast")));
  document.body.addEventListener("hint:alerts", ask);

  // The sound is off until somebody switches it on in this browser.
  const soundIsOn = () => localStorage.getItem("critical-sound") === "on";
  const button = document.getElementById("sound");
  function showSound() {
    button.setAttribute("aria-pressed", soundIsOn());
    button.textContent = `Sound for critical alerts: ${soundIsOn() ? "on" : "off"}`;
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    localStorage.setItem("critical-sound", soundIsOn() ? "off" : "on");
    showSound();
    if (soundIsOn()) beep();
  });
  showSound();

  let audio = null;
  // Two short tones. A browser may refuse them until somebody has clicked on the page.
  function beep() {
    audio ??= new AudioContext();
    for (const [tone, at] of [[880, 0], [1175, 0.18]]) {
      const source = audio.createOscillator();
      const loudness = audio.createGain();
      source.frequency.value = tone;
      loudness.gain.value = 0.12;
      source.connect(loudness).connect(audio.destination);
      source.start(audio.currentTime + at);
      source.stop(audio.currentTime + at + 0.14);
    }
  }
})();
