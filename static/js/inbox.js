// The inbox by keyboard: j and k move, x ticks, a acknowledges the alert in focus, Enter opens it (it is a link).
(() => {
  "use strict";
  const titles = () => [...document.querySelectorAll("#inbox .row-title")];

  function move(by) {
    const all = titles();
    const at = all.indexOf(document.activeElement);
    all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]?.focus();
  }

  const row = () => document.activeElement?.closest("#inbox .row");
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    x: () => row()?.querySelector("input[type=checkbox]")?.click(),
    a: () => row()?.querySelector("form button")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
})();
