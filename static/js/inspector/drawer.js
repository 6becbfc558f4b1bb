// The inspector: closed until it is asked for, and loaded only then. What it shows is in a file for each tab.

import { wording } from "../i18n/index.js";
import { h } from "../view/dom.js";
import { EventLog } from "./event_log.js";

const TABS = ["turns", "events", "network", "engines", "resources", "measure"];
/** How often the open tab is drawn anew at most. */
const REDRAW_MS = 250;
const UNLOGGED = "client.";
const SENT = "client.sent";

/** Keep the events of the data channel from the beginning: the question comes after the trouble. */
export function recorder(store, log = new EventLog()) {
  store.subscribe((_, events) => {
    for (const event of events ?? []) {
      if (event.type === SENT) log.add(event.event, event.at, true);
      else if (!event.type.startsWith(UNLOGGED)) log.add(withoutTime(event), event.at);
    }
  });
  return log;
}

const withoutTime = ({ at: _, ...event }) => event;

/**
 * @param root the drawer, empty and hidden
 * @returns {{toggle(tab?: string): void, close(): boolean, log: EventLog}}
 */
export function mount({ store, call, root, t, settings }) {
  const log = recorder(store);
  const opener = document.getElementById("inspect");
  let panels = null; // name → {element, render(state)?, open()?, close()?}, once loaded
  let modules = null;
  let said = 0; // which wording of the page they are made with
  let shown = null;
  let due = 0;

  const isOpen = () => !root.hidden;

  function draw() {
    due = 0;
    if (!isOpen() || !shown || !panels) return;
    if (said !== wording()) make();
    panels[shown].render?.(store.state);
  }

  store.subscribe(() => {
    if (isOpen() && !due) due = setTimeout(draw, REDRAW_MS);
  });

  async function load() {
    if (panels) return;
    const style = h("link", { rel: "stylesheet", href: new URL("../../css/inspector.css", import.meta.url).href });
    const styled = new Promise((done) => { style.onload = style.onerror = done; });
    document.head.append(style);
    modules = await Promise.all(TABS.map((name) => import(`./${name}.js`)));
    await styled;
    make();
  }

  /** What is in the drawer; anew in another language. */
  function make() {
    said = wording();
    if (panels && shown) panels[shown].close?.();
    panels = Object.fromEntries(TABS.map((name, place) =>
      [name, modules[place].create({ store, call, t, settings, log })]));
    root.replaceChildren(...frame());
    if (shown) choose(shown);
  }

  function frame() {
    const tabs = TABS.map((name) => h("button", {
      type: "button", role: "tab", id: `tab-${name}`, class: "tab", "aria-controls": `panel-${name}`,
      onclick: () => choose(name), onkeydown: walk,
    }, t(`inspector.${name}`)));
    const close = h("button", { type: "button", class: "button quiet", id: "inspector-close", onclick: () => hide() },
      t("inspector.close"));
    return [
      h("header", { class: "drawer-head" }, h("h2", { id: "inspector-title" }, t("inspector.title")), close),
      h("div", { role: "tablist", class: "tabs", "aria-labelledby": "inspector-title" }, ...tabs),
      ...TABS.map((name) => h("div", { role: "tabpanel", id: `panel-${name}`, class: "drawer-panel", tabindex: "0",
        "aria-labelledby": `tab-${name}`, hidden: true }, panels[name].element)),
    ];
  }

  /** The arrow keys go from tab to tab. */
  function walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(TABS.at((TABS.indexOf(shown) + step) % TABS.length));
    document.getElementById(`tab-${shown}`).focus();
  }

  function choose(name) {
    if (shown && shown !== name) panels[shown].close?.();
    shown = name;
    for (const one of TABS) {
      const tab = document.getElementById(`tab-${one}`);
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
      document.getElementById(`panel-${one}`).hidden = one !== name;
    }
    document.getElementById(`tab-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
    panels[name].open?.();
    draw();
  }

  async function show(name) {
    root.hidden = false;
    opener?.setAttribute("aria-expanded", "true");
    await load();
    if (!isOpen()) return; // closed again while it was loaded
    choose(name ?? shown ?? TABS[0]);
    if (!root.contains(document.activeElement)) document.getElementById(`tab-${shown}`).focus();
  }

  function hide() {
    if (!isOpen()) return false;
    // A button that was switched off while it had the focus has lost it to the body.
    const inside = document.activeElement === document.body || root.contains(document.activeElement);
    root.hidden = true;
    opener?.setAttribute("aria-expanded", "false");
    if (shown && panels) panels[shown].close?.();
    if (inside) opener?.focus();
    return true;
  }

  const toggle = (name) => (isOpen() && (!name || name === shown) ? hide() : show(name));
  opener?.addEventListener("click", () => toggle());
  return { toggle, close: hide, log };
}
