// Which words to put under the picture while they are being spoken.

import { drawsCaptions } from "../state/vision.js";
import { byId, setText } from "../view/dom.js";

const TICK_MS = 200;

/** Usual speaking rate of a synthetic voice, in characters per second. */
const CHARACTERS_PER_SECOND = 15;
const LINE = 84;

/** Cut a text into lines of a readable length, at sentences, clauses or words. */
export function captionLines(text) {
  const lines = [];
  let rest = text.trim();
  while (rest) {
    const head = rest.slice(0, LINE + 1);
    const sentence = head.match(/^.*?[.!?…](?=\s|$)/s)?.[0];
    const clause = head.match(/^.{24,}[,;:](?=\s)/s)?.[0];
    const words = head.length > LINE ? head.slice(0, head.lastIndexOf(" ")) || head : rest;
    const line = sentence ?? (head.length > LINE ? clause ?? words : rest);
    lines.push(line.trim());
    rest = rest.slice(line.length).trim();
  }
  return lines;
}

/**
 * The line being heard after so many seconds of playout. Replies are written faster than they are spoken, so the last
 * words received would be far ahead of the voice; the server does not send word timings, so the place is estimated.
 */
export function captionAt(text, seconds) {
  const lines = captionLines(text);
  let ahead = seconds * CHARACTERS_PER_SECOND;
  for (const line of lines) {
    ahead -= line.length;
    if (ahead < 0) return line;
  }
  return lines.at(-1) ?? "";
}

/** The end of a text that grows while the user speaks. */
export function tail(text) {
  if (text.length <= LINE) return text;
  const cut = text.slice(-LINE);
  return `…${cut.slice(cut.indexOf(" "))}`;
}

function captionOf({ call, words, devices, vision }, now) {
  if (call.phase !== "connected") return "";
  if (devices.camera && !devices.cameraOff && drawsCaptions(vision.settings)) return ""; // they are in the picture
  if (call.hearing) {
    const current = words.entries.findLast((entry) => entry.role === "user" && entry.awaiting);
    return tail(current?.text ?? "");
  }
  if (!call.playing) return "";
  const spoken = words.entries.filter((entry) => entry.response && entry.response === call.playing.response);
  return captionAt(spoken.map((entry) => entry.text).join(" "), (now - call.playing.since) / 1000);
}

export function mount({ store }) {
  const render = () => setText(byId("caption"), captionOf(store.state, performance.now()));
  store.subscribe(render);
  setInterval(render, TICK_MS); // they move on with the voice
}
