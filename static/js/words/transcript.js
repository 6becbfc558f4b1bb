// The conversation pane: one bubble for each turn, changed in place while its words arrive.

import { transcriptOf, visibleEntries } from "../state/words.js";
import { latencyOf } from "../state/latency.js";
import { spoken, wording } from "../i18n/index.js";
import { h, icon } from "../view/dom.js";
import { partsAt } from "./karaoke.js";
import { heardMs, whilePlaying } from "./ticker.js";

const NEAR_BOTTOM_PX = 60;
/** Turns that stay in the live region; a screen reader has read them out, and the list has them all. */
const ANNOUNCED = 3;

/** @param inspect called with the name of a tab: shows where the time of a turn went */
export function mount({ store, root, t, settings, inspect }) {
  const [log, list, empty, count] = ["log", "entries", "empty", "turns"].map((id) => root.querySelector(`#${id}`));
  const announcer = document.getElementById("announcer");
  document.head.append(h("link", { rel: "stylesheet", href: new URL("../../css/said.css", import.meta.url).href }));
  const rows = new Map(); // key of the entry → {element, entry, latency}
  const announced = new Set();
  follow(log, list);

  function place(entry, latency, at) {
    let row = rows.get(entry.key);
    if (row?.entry === entry && row.latency === latency && row.said === wording()) return;
    if (!row) {
      row = { element: h("li", {}) };
      rows.set(entry.key, row);
      list.insertBefore(row.element, list.children[at] ?? null);
    }
    const { element } = row;
    element.className = `entry ${entry.role}${entry.interrupted ? " interrupted" : ""}`;
    // Words that still change are for the eye alone; a turn is read out once, when it is complete.
    if (isWhole(entry) || entry.role === "tool") element.removeAttribute("aria-hidden");
    else element.setAttribute("aria-hidden", "true");
    element.replaceChildren(...contentOf(entry, latency, { t, inspect, open: element.querySelector("details")?.open }));
    Object.assign(row, { entry, latency, said: wording(), shown: null });
  }

  function announce(entries, { announce }) {
    announcer.setAttribute("aria-live", announce ? "polite" : "off"); // the voice has said the replies already
    for (const entry of entries) {
      if (!isWhole(entry) || !entry.text || announced.has(entry.key)) continue;
      announced.add(entry.key);
      announcer.append(h("p", { dir: "auto" }, `${speakerOf(entry, t)}${entry.text}`));
      while (announcer.childElementCount > ANNOUNCED) announcer.firstElementChild.remove();
    }
  }

  function render(state) {
    const entries = visibleEntries(state.words);
    const keys = new Set(entries.map(({ key }) => key));
    for (const [key, row] of rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      rows.delete(key);
      announced.delete(key);
    }
    entries.forEach((entry, at) => place(entry, latencyOf(state.latency, entry.response), at));
    empty.hidden = entries.length > 0;
    const replies = transcriptOf(state.words).filter(({ role }) => role === "assistant").length;
    count.textContent = replies ? t(replies === 1 ? "words.reply" : "words.replies", { count: replies }) : "";
    announce(entries, { announce: Boolean(settings?.get?.("announce")) });
    sing(state, performance.now());
  }

  /** Mark the word that sounds. Only the texts of three nodes change, and only when a word begins. */
  function sing(state, now) {
    for (const entry of state.words.entries) {
      const row = rows.get(entry.key);
      const sounds = Boolean(entry.response) && entry.response === state.call.playing?.response;
      if (!row || entry.truncated || (!sounds && !entry.cleared && !row.shown)) continue;
      // What was cut off stands where it was, until the server has told how much of it was heard.
      const until = entry.cleared ? entry.to : now;
      const ms = sounds || entry.cleared ? heardMs(state, { ...entry, from: entry.from ?? now }, until) : Infinity;
      draw(row, partsAt(entry.text, entry.words, ms));
    }
  }
  whilePlaying(store, sing);

  let drawn = {};
  store.subscribe((state) => {
    if (state.words === drawn.words && state.latency === drawn.latency && state.settings === drawn.settings) return;
    drawn = state;
    render(state);
  });
  render(store.state);
  return { render };
}

const seconds = (ms) => (ms / 1000).toLocaleString(spoken(), { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const isWhole = (entry) => entry.final && !entry.waiting;
const speakerOf = ({ role }, t) => (role === "user" || role === "assistant" ? `${t(`words.${role}`)}: ` : "");

function draw(row, parts) {
  const words = row.element.querySelector(".words");
  if (!parts || !words) return;
  const key = parts.map((part) => part.length).join(" ");
  if (row.shown === key) return;
  row.shown = key;
  const [said, now, ahead] = parts;
  words.replaceChildren(said, ...(now ? [h("mark", { class: "now" }, now)] : []),
    ...(ahead ? [h("span", { class: "ahead" }, ahead)] : []));
}

/** Keeps the newest words in sight until the reader scrolls up. */
function follow(log, list) {
  let following = true;
  let top = 0;
  const down = () => {
    if (following) log.scrollTop = log.scrollHeight;
  };
  const observer = new ResizeObserver(down);
  observer.observe(log);
  observer.observe(list);
  log.addEventListener("scroll", () => {
    // Only a move upwards is the reader's; a list that has just grown also looks scrolled up for a moment.
    const near = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM_PX;
    following = near || (following && log.scrollTop >= top);
    top = log.scrollTop;
  }, { passive: true });
}

// --- one turn ------------------------------------------------------------------------------------------------------

function contentOf(entry, latency, { t, inspect, open }) {
  if (entry.role === "note") return [h("p", {}, t(`words.note.${entry.note}`))];
  if (entry.role === "tool") return [toolCard(entry.tool, Boolean(open), t)];
  if (entry.role === "failure") return [h("p", { class: "bubble failed", dir: "auto" }, icon("warn"), failureOf(entry, t))];
  const marks = marksOf(entry, latency, t, inspect);
  return [
    h("p", { class: "bubble", dir: "auto" }, h("span", { class: "sr-only" }, speakerOf(entry, t)), ...wordsOf(entry, t)),
    ...(marks.length ? [h("div", { class: "marks" }, ...marks)] : []),
  ];
}

function wordsOf(entry, t) {
  if (entry.failed && !entry.text) {
    return [h("span", { class: "pending" }, entry.code ? t("words.not_understood_code", { code: entry.code }) : t("words.not_understood"))];
  }
  if (entry.truncated) return cutWords(entry, t);
  if (!entry.text) {
    return [h("span", { class: "dots" }, h("i"), h("i"), h("i"), h("span", { class: "sr-only" }, "…"))];
  }
  if (entry.final || entry.role === "assistant") return [h("span", { class: "words" }, entry.text)];
  // The settled words stand; what may still be revised is grey.
  const settled = entry.text.startsWith(entry.stable) ? entry.stable : "";
  return [h("span", { class: "words" }, settled), h("span", { class: "words pending" }, entry.text.slice(settled.length))];
}

/** What was heard, where it was cut, and what nobody heard. */
function cutWords({ text, unheard }, t) {
  return [
    text ? h("span", { class: "words" }, text) : h("span", { class: "pending" }, t("words.nothing_heard")),
    " ", h("span", { class: "cut" }, icon("hush"), t("words.cut_here")),
    ...(unheard ? [" ", h("s", { class: "unheard" }, h("span", { class: "sr-only" }, `${t("words.unheard")}: `), unheard)] : []),
  ];
}

function failureOf({ text, code }, t) {
  const why = text || t("words.failed_unknown");
  return code ? t("words.failed_code", { why, code }) : t("words.failed", { why });
}

function marksOf(entry, latency, t, inspect) {
  const marks = [];
  if (entry.interrupted && !entry.truncated) marks.push(h("span", { class: "mark" }, icon("hush"), t("words.interrupted")));
  if (entry.waiting) marks.push(h("span", { class: "mark" }, t("words.sending")));
  else if (entry.typed && entry.role === "user") marks.push(h("span", { class: "mark" }, t("words.sent")));
  if (latency) {
    marks.push(h("button", { type: "button", class: "latency", title: t("words.latency_hint"),
      tabindex: isWhole(entry) ? null : "-1", // nobody gets to where nothing is read out
      onclick: () => inspect?.("turns") }, t("words.latency", { value: seconds(latency.voice_to_voice_ms) })));
  }
  return marks;
}

function toolCard({ name, arguments: given, output }, open, t) {
  const card = h("details", { class: "tool" },
    h("summary", {}, icon("tool"), h("b", {}, name || t("tool.unnamed")),
      h("span", { class: "mark" }, t(output === null ? "tool.running" : "tool.done"))),
    h("p", { class: "tool-part" }, t("tool.arguments")), h("pre", { dir: "auto" }, pretty(given)),
    ...(output === null ? [] : [h("p", { class: "tool-part" }, t("tool.output")), h("pre", { dir: "auto" }, pretty(output))]));
  card.open = open;
  return card;
}

/** JSON as people read it; anything else as it is. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
