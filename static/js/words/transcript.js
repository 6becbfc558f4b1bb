// The conversation pane: one bubble per turn, changed in place while its words arrive.

import { visibleEntries } from "../state/words.js";
import { byId, h, icon } from "../view/dom.js";

const NEAR_BOTTOM_PX = 60;

const milliseconds = (value) => `${Math.round(value)} ms`;
const nameOfPart = (key) => key.replace(/_ms$/, "").replaceAll("_", " ");

class TranscriptView {
  #log = byId("log");
  #list = byId("entries");
  #empty = byId("empty");
  #turns = byId("turns");
  #announcer = byId("announcer");
  #rows = new Map(); // key → {element, entry, latency}
  #announced = new Set();
  #following = true; // the newest words stay in sight until the reader scrolls up

  constructor() {
    const log = this.#log;
    let top = 0;
    const observer = new ResizeObserver(() => {
      if (this.#following) log.scrollTop = log.scrollHeight;
    });
    observer.observe(log);
    observer.observe(this.#list);
    log.addEventListener("scroll", () => {
      // Only a move upwards is the reader's; a list that has just grown also looks scrolled up for a moment.
      const near = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM_PX;
      this.#following = near || (this.#following && log.scrollTop >= top);
      top = log.scrollTop;
    }, { passive: true });
  }

  render(state) {
    const entries = visibleEntries(state.words);
    const keys = new Set(entries.map((entry) => entry.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
      this.#announced.delete(key);
    }
    entries.forEach((entry, place) => this.#place(entry, state.latency.byResponse[entry.response] ?? null, place));
    this.#empty.hidden = entries.length > 0;
    const turns = entries.filter((entry) => entry.role === "assistant").length;
    this.#turns.textContent = turns ? `${turns} ${turns === 1 ? "reply" : "replies"}` : "";
    this.#announce(entries);
  }

  #place(entry, latency, place) {
    let row = this.#rows.get(entry.key);
    if (row?.entry === entry && row.latency === latency) return;
    if (!row) {
      row = { element: h("li", { class: `entry ${entry.role}` }) };
      this.#rows.set(entry.key, row);
      this.#list.insertBefore(row.element, this.#list.children[place] ?? null);
    }
    const wasOpen = row.element.querySelector("details")?.open ?? false;
    row.element.classList.toggle("interrupted", entry.interrupted);
    row.element.replaceChildren(...bubble(entry, latency, wasOpen));
    Object.assign(row, { entry, latency });
  }

  /** Screen readers hear a turn once, when it is complete, not every word twice. */
  #announce(entries) {
    for (const entry of entries) {
      if (!entry.final || !entry.text || this.#announced.has(entry.key)) continue;
      this.#announced.add(entry.key);
      const speaker = { user: "You: ", assistant: "Assistant: ", note: "" }[entry.role];
      this.#announcer.replaceChildren(h("span", {}, speaker + entry.text));
    }
  }
}

function bubble(entry, latency, open) {
  if (entry.role === "note") return [h("p", {}, entry.text)];
  const speaker = h("span", { class: "sr-only" }, entry.role === "user" ? "You: " : "Assistant: ");
  const marks = h("div", { class: "marks" });
  if (entry.interrupted) marks.append(h("span", { class: "mark" }, icon("hush"), "Interrupted"));
  if (entry.waiting) marks.append(h("span", {}, "Not sent yet"));
  if (latency) marks.append(latencyDetails(latency, open));
  return [h("p", { class: "bubble" }, speaker, ...words(entry)), ...(marks.childElementCount ? [marks] : [])];
}

function words(entry) {
  if (entry.failed && !entry.text) return [h("span", { class: "pending" }, "Not understood")];
  if (entry.truncated && !entry.text) return [h("span", { class: "pending" }, "Stopped before a word was heard")];
  if (!entry.text) return [h("span", { class: "dots" }, h("i"), h("i"), h("i"), h("span", { class: "sr-only" }, "…"))];
  if (entry.final || entry.role === "assistant") return [h("span", { class: "words" }, entry.text)];
  // The settled words stand; what may still be revised is grey.
  const settled = entry.text.startsWith(entry.stable) ? entry.stable : "";
  return [h("span", { class: "words" }, settled), h("span", { class: "words pending" }, entry.text.slice(settled.length))];
}

function latencyDetails({ voice_to_voice_ms: total, parts }, open) {
  const summary = h("summary", {}, h("b", {}, milliseconds(total)), " to first audio");
  const details = h("details", { class: "latency" }, summary);
  details.open = open;
  const list = h("dl", { class: "parts" });
  for (const [name, value] of Object.entries(parts)) {
    if (typeof value !== "number") continue;
    const bar = h("span", { class: "bar" }, h("i"));
    bar.firstChild.style.setProperty("--share", Math.min(1, total > 0 ? value / total : 0).toFixed(3));
    list.append(h("dt", {}, nameOfPart(name)), h("dd", {}, bar, milliseconds(value)));
  }
  if (list.childElementCount) details.append(list);
  return details;
}

export function mount({ store }) {
  const view = new TranscriptView();
  store.subscribe((state) => view.render(state));
}
