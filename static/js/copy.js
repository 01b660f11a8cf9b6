// Buttons that copy the text beside them. Without this script they stay hidden, and the text can be selected.
(() => {
  "use strict";
  const MS_SAID = 2000;

  // The clipboard is there on https and localhost only; elsewhere the browser's old command does.
  async function copy(source) {
    if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent);
    getSelection().selectAllChildren(source);
    if (!document.execCommand("copy")) throw new Error("not copied");
    getSelection().removeAllRanges();
  }

  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      try {
        await copy(button.parentElement.querySelector("pre"));
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
        button.textContent = "Press Ctrl-C";
      }
      setTimeout(() => (button.textContent = label), MS_SAID);
    });
  });
})();
