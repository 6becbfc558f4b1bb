// Tab "Events": what travels on the data channel, as it comes: filter, look into, hold, copy.

import { h } from "../view/dom.js";
import { filterOf, summaryOf, toLines } from "./event_log.js";

/** Events that are drawn; the filter looks at all that are kept. */
const SHOWN = 200;

export function create({ store, log, t }) {
  let heldAt = null; // events before this number are shown while the view is held
  let key = "";
  const filter = h("input", { type: "search", id: "event-filter", class: "field", autocomplete: "off", spellcheck: "false",
    placeholder: t("events.filter_hint"), oninput: () => draw() });
  const hold = h("button", { type: "button", class: "button", id: "event-hold", "aria-pressed": "false", onclick: toggle },
    t("events.pause"));
  const copy = h("button", { type: "button", class: "button", id: "event-copy", onclick: copyAll }, t("events.copy"));
  const count = h("p", { class: "figures", id: "event-count" });
  const list = h("ol", { class: "event-list", reversed: true });
  const rows = new Map(); // number → element
  const element = h("div", {},
    h("div", { class: "tools" }, h("label", { class: "sr-only", for: "event-filter" }, t("events.filter")), filter, hold, copy),
    count, list);

  function toggle() {
    heldAt = heldAt === null ? log.count : null;
    hold.setAttribute("aria-pressed", String(heldAt !== null));
    hold.textContent = t(heldAt === null ? "events.pause" : "events.resume");
    draw();
  }

  const chosen = () => log.list(heldAt ?? Infinity).filter(filterOf(filter.value));

  async function copyAll() {
    const text = toLines(chosen());
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = t("events.copied");
    } catch {
      // No clipboard on an address that is not secure: as a file, then.
      const { save } = await import("../words/export.js");
      save("visavis-events.jsonl", "application/x-ndjson", text);
    }
    setTimeout(() => { copy.textContent = t("events.copy"); }, 2000);
  }

  function draw() {
    const now = `${heldAt ?? log.count} ${filter.value}`;
    if (now === key) return;
    key = now;
    const found = chosen();
    const shown = found.slice(-SHOWN).reverse();
    const keep = new Set(shown.map(({ number }) => number));
    for (const [number, row] of rows) {
      if (keep.has(number)) continue;
      row.remove();
      rows.delete(number);
    }
    shown.forEach((entry, place) => {
      if (!rows.has(entry.number)) rows.set(entry.number, rowOf(entry, store.state.call?.started ?? 0));
      const row = rows.get(entry.number);
      if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    });
    count.textContent = t("events.count", { shown: shown.length, found: found.length, kept: log.list().length });
  }

  return { element, render: draw };
}

function rowOf({ at, sent, event }, origin) {
  const body = h("pre", { tabindex: "0" });
  const details = h("details", { ontoggle: () => { body.textContent ||= JSON.stringify(event, null, 2); } },
    h("summary", {},
      h("time", {}, ((at - origin) / 1000).toFixed(2)),
      h("span", { class: "direction", "aria-hidden": "true" }, sent ? "↑" : "↓"),
      h("b", {}, event.type ?? ""), h("span", { class: "gist", dir: "auto" }, summaryOf(event))),
    body);
  return h("li", { class: sent ? "sent" : "received" }, details);
}
