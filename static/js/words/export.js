// The conversation as a file: Markdown to read, JSON to work with, WebVTT to lay under the recording.
// All but the last function are pure.

import { pagesOf } from "./captions.js";

/**
 * @typedef {object} Line
 * @property {"user"|"assistant"|"tool"|"note"} role
 * @property {string} text what was said; of the assistant only what was heard
 * @property {string} [unheard] what the assistant would have said, had it not been interrupted
 * @property {boolean} [interrupted]
 * @property {boolean} [failed]
 * @property {number|null} [from] when it began, in ms on the page's clock
 * @property {number|null} [to] and ended
 * @property {{text: string, start_ms: number, end_ms: number}[]} [words] times of the words, from `from` on
 */

/**
 * @typedef {object} Heading
 * @property {string} title
 * @property {number} origin what to add to the page's clock to get the time of day, in ms
 * @property {number} start when the conversation began, on the page's clock
 * @property {string|null} session
 * @property {{user: string, assistant: string, tool: string, unheard: string}} names what to call the speakers
 */

const known = (lines) => lines.filter(({ text, unheard, role }) => text || unheard || role === "tool");
const dateOf = (heading, ms) => new Date(heading.origin + ms).toISOString();
const escaped = (text) => text.replace(/([\\`*_[\]<>#|~])/g, "\\$1").replace(/\s*\n\s*/g, " ");

/** @param {Line[]} lines @param {Heading} heading */
export function toMarkdown(lines, heading) {
  const head = [`# ${escaped(heading.title)}`, "", `${dateOf(heading, heading.start)}${heading.session ? ` · ${heading.session}` : ""}`, ""];
  const body = known(lines).flatMap((line) => {
    if (line.role === "note") return [`*${escaped(line.text)}*`, ""];
    const time = Number.isFinite(line.from) ? ` (${clock(line.from - heading.start).slice(0, 8)})` : "";
    const lost = line.unheard ? ` ~~${escaped(line.unheard)}~~ *(${heading.names.unheard})*` : "";
    return [`**${heading.names[line.role] ?? line.role}**${time}: ${escaped(line.text)}${lost}`, ""];
  });
  return [...head, ...body].join("\n");
}

/** @param {Line[]} lines @param {Heading} heading */
export function toJson(lines, heading) {
  const turns = known(lines).map(({ role, text, unheard, interrupted, failed, from, to, words }) => ({
    role, text,
    ...(unheard ? { unheard } : {}),
    ...(interrupted ? { interrupted } : {}),
    ...(failed ? { failed } : {}),
    start_ms: Number.isFinite(from) ? Math.round(from - heading.start) : null,
    end_ms: Number.isFinite(to) ? Math.round(to - heading.start) : null,
    ...(words?.length ? { words } : {}),
  }));
  const about = { title: heading.title, session_id: heading.session, started_at: dateOf(heading, heading.start) };
  return `${JSON.stringify({ ...about, turns }, null, 2)}\n`;
}

const two = (number) => String(Math.floor(number)).padStart(2, "0");
const clock = (ms) => {
  const seconds = Math.max(0, ms) / 1000;
  const rest = String(Math.floor(Math.max(0, ms) % 1000)).padStart(3, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}.${rest}`;
};

/** WebVTT knows three signs that may not stand as they are, and no empty lines in a cue. */
const cueText = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\s*\n\s*/g, "\n");

/** Parts of a turn, each with its time: by its words where they have times, in proportion to its letters otherwise. */
function cuesOf(line) {
  const pages = pagesOf(line.text);
  const letters = Math.max(1, line.text.length);
  const span = Math.max(500, (line.to ?? line.from + letters * 66) - line.from);
  let first = 0;
  let shown = 0;
  return pages.map(({ lines, end }, place) => {
    const times = line.words?.length ? line.words.slice(first, end) : [];
    const size = lines.join(" ").length;
    const guess = [(span * shown) / letters, place === pages.length - 1 ? span : (span * (shown + size)) / letters];
    shown += size + 1;
    first = end;
    const [from, to] = times.length ? [times[0].start_ms, times.at(-1).end_ms] : guess;
    return { from: line.from + from, to: line.from + Math.max(to, from + 1), lines };
  });
}

/** @param {Line[]} lines @param {Heading} heading */
export function toVtt(lines, heading) {
  const cues = known(lines)
    .filter(({ role, text, from }) => (role === "user" || role === "assistant") && text && Number.isFinite(from))
    .flatMap((line) => cuesOf(line).map((cue) => ({ ...cue, name: heading.names[line.role] })))
    .sort((one, other) => one.from - other.from)
    .map(({ from, to, lines: text, name }) =>
      `${clock(from - heading.start)} --> ${clock(to - heading.start)}\n<v ${cueText(name)}>${cueText(text.join("\n"))}`);
  return ["WEBVTT", ...cues, ""].join("\n\n");
}

export const FORMATS = {
  md: { type: "text/markdown", write: toMarkdown },
  json: { type: "application/json", write: toJson },
  vtt: { type: "text/vtt", write: toVtt },
};

/** A name for the file that says when: visavis-2026-11-29-0735.md */
export const nameOf = (heading, extension) =>
  `visavis-${dateOf(heading, heading.start).slice(0, 16).replace("T", "-").replace(":", "")}.${extension}`;

/** Hand something to the user as a file. @param content a text or a Blob */
export function save(name, type, content) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // when the browser has surely read it
}
