// Keys for what has a button. None works while something is being typed; they can be switched off (WCAG 2.1.4).

import { byId } from "./dom.js";

/** Shown by the help, in this order. */
export const KEYS = [
  ["Space", "help.space"], ["M", "help.mute"], ["V", "help.camera"], ["S", "help.screen"], ["C", "help.captions"],
  ["I", "help.inspector"], ["/", "help.text"], ["Esc", "help.escape"], ["Ctrl + E", "help.end"], ["?", "help.help"],
];
const CLICKS = { m: "mute", v: "camera", s: "share", c: "captions", i: "inspect" };
const TYPING = "input:not([type=checkbox]):not([type=range]):not([type=radio]), textarea, select, [contenteditable]";
const OPERABLE = "button, a[href], summary, input, select, [role=tab], [role=button]";

/**
 * What a key means: click:ID, talk, hush, text, escape, end, help, or "" for nothing. Pure.
 * @param key {key, ctrl, repeat, typing: the focus is in a text field, operable: on something the space bar operates}
 * @param state {pushToTalk, replying, enabled: whether keys without Ctrl count}
 */
export function meaningOf({ key, ctrl, alt, repeat, typing, operable }, { pushToTalk, replying, enabled }) {
  if (repeat || alt) return "";
  if (ctrl) return key.toLowerCase() === "e" ? "end" : "";
  if (key === "Escape") return "escape";
  if (typing || !enabled) return "";
  if (key === " ") return operable ? "" : pushToTalk ? "talk" : replying ? "hush" : "";
  if (key === "/") return "text";
  if (key === "?") return "help";
  const id = CLICKS[key.toLowerCase()];
  return id ? `click:${id}` : "";
}

export function mount({ store, call, settings, t }) {
  let talking = false;
  const act = {
    talk() { talking = true; call.talk.press(); },
    hush: () => call.hush(),
    text: () => byId("composer-text").focus(),
    end: () => call.stop(),
    help: async () => (await import("./help.js")).toggle(t, KEYS),
    escape() {
      const drawer = byId("inspector");
      if (drawer && !drawer.hidden) byId("inspector-close")?.click();
      else call.hush();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    const within = (selector) => Boolean(event.target.closest?.(selector));
    if (document.querySelector("dialog[open]")) return; // it has keys of its own
    const held = byId("talk").contains(event.target);
    const meaning = meaningOf(
      { key: event.key, ctrl: event.ctrlKey || event.metaKey, alt: event.altKey, repeat: event.repeat,
        typing: within(TYPING), operable: within(OPERABLE) && !held },
      { pushToTalk: store.state.devices.chosen.pushToTalk && !byId("talk").disabled,
        replying: !byId("hush").disabled, enabled: settings?.get("keys") !== false });
    if (event.key === " " && talking) event.preventDefault(); // repeats do not scroll
    if (!meaning) return;
    if (meaning !== "escape") event.preventDefault();
    if (meaning.startsWith("click:")) byId(meaning.slice(6))?.click();
    else act[meaning]();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== " " || !talking) return;
    talking = false;
    event.preventDefault(); // the button that has the focus is not pressed by it
    call.talk.release();
  });
  window.addEventListener("blur", () => { talking = false; });
}
