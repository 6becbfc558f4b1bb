// The conversation pane: one bubble per turn, changed in place while its words arrive.

import { visibleEntries } from "./events.js";

const NEAR_BOTTOM_PX = 60;

/** Make an element; children are elements or text. Text only ever becomes a text node. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const milliseconds = (value) => `${Math.round(value)} ms`;
const nameOfPart = (key) => key.replace(/_ms$/, "").replaceAll("_", " ");

export class TranscriptView {
  #log = document.getElementById("log");
  #list = document.getElementById("entries");
  #empty = document.getElementById("empty");
  #turns = document.getElementById("turns");
  #announcer = document.getElementById("announcer");
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
    const entries = visibleEntries(state);
    const keys = new Set(entries.map((entry) => entry.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
      this.#announced.delete(key);
    }
    entries.forEach((entry, place) => this.#place(entry, state.latencies[entry.response] ?? null, place));
    this.#empty.hidden = entries.length > 0;
    const turns = entries.filter((entry) => entry.role === "assistant").length;
    this.#turns.textContent = turns ? `${turns} ${turns === 1 ? "reply" : "replies"}` : "";
    this.#announce(entries);
  }

  #place(entry, latency, place) {
    let row = this.#rows.get(entry.key);
    if (row?.entry === entry && row.latency === latency) return;
    if (!row) {
      row = { element: make("li", `entry ${entry.role}`) };
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
      this.#announcer.replaceChildren(make("span", "", speaker + entry.text));
    }
  }
}

function bubble(entry, latency, open) {
  if (entry.role === "note") return [make("p", "", entry.text)];
  const speaker = make("span", "sr-only", entry.role === "user" ? "You: " : "Assistant: ");
  const marks = make("div", "marks");
  if (entry.interrupted) marks.append(make("span", "mark", icon("hush"), "Interrupted"));
  if (entry.waiting) marks.append(make("span", "", "Not sent yet"));
  if (latency) marks.append(latencyDetails(latency, open));
  return [make("p", "bubble", speaker, ...words(entry)), ...(marks.childElementCount ? [marks] : [])];
}

function words(entry) {
  if (entry.failed && !entry.text) return [make("span", "pending", "Not understood")];
  if (entry.truncated && !entry.text) return [make("span", "pending", "Stopped before a word was heard")];
  if (!entry.text) return [make("span", "dots", make("i"), make("i"), make("i"), make("span", "sr-only", "…"))];
  if (entry.final || entry.role === "assistant") return [make("span", "words", entry.text)];
  // The settled words stand; what may still be revised is grey.
  const settled = entry.text.startsWith(entry.stable) ? entry.stable : "";
  return [make("span", "words", settled), make("span", "words pending", entry.text.slice(settled.length))];
}

function latencyDetails({ voice_to_voice_ms: total, parts }, open) {
  const summary = make("summary", "", make("b", "", milliseconds(total)), " to first audio");
  const details = make("details", "latency", summary);
  details.open = open;
  const list = make("dl", "parts");
  for (const [name, value] of Object.entries(parts)) {
    if (typeof value !== "number") continue;
    const bar = make("span", "bar", make("i"));
    bar.firstChild.style.setProperty("--share", Math.min(1, total > 0 ? value / total : 0).toFixed(3));
    list.append(make("dt", "", nameOfPart(name)), make("dd", "", bar, milliseconds(value)));
  }
  if (list.childElementCount) details.append(list);
  return details;
}
