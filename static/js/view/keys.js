// Keys for what has a button.

import { byId } from "./dom.js";

const BUTTONS = { i: "inspect", c: "captions" };
const TAKES_TEXT = "input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]";

export function mount({ call }) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      if (byId("inspector").hidden) call.hush();
      else byId("inspector-close")?.click();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TAKES_TEXT)) return;
    byId(BUTTONS[event.key.toLowerCase()])?.click();
  });
}
