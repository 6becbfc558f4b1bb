// The words under the picture: at most two lines of forty characters, in step with the voice. Pure.

import { begunAt, wordsOf } from "./karaoke.js";

export const LINE = 40;
export const LINES = 2;
/** Usual speaking rate of a synthetic voice, in characters per second: for voices that tell no times. */
const CHARACTERS_PER_SECOND = 15;
/** A sentence at least this long has a page of its own. */
const SENTENCE = 8;

const short = (word) => (word.length > LINE ? `${word.slice(0, LINE - 1)}…` : word);
const endsSentence = (word) => /[.!?…。！？]["'”’)]*$/.test(word);

/**
 * Lay a text out in pages, each with its lines and the number of the first word that is not on it any more.
 * @returns {{lines: string[], end: number}[]}
 */
export function pagesOf(text) {
  const pages = [];
  let lines = [""];
  const turn = (end) => {
    if (lines[0]) pages.push({ lines, end });
    lines = [""];
  };
  wordsOf(text).map(short).forEach((word, place) => {
    const line = lines.at(-1);
    if (!line) lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= LINE) lines[lines.length - 1] = `${line} ${word}`;
    else if (lines.length < LINES) lines.push(word);
    else {
      turn(place);
      lines = [word];
    }
    if (endsSentence(word) && lines.join(" ").length >= SENTENCE) turn(place + 1);
  });
  turn(Infinity);
  return pages;
}

let last = { text: null, pages: [] };

/** The lines on which the word with this number stands (from 0); none for a text without words. */
export function linesAt(text, place) {
  if (last.text !== text) last = { text, pages: pagesOf(text) };
  return (last.pages.find(({ end }) => place < end) ?? last.pages.at(-1))?.lines ?? [];
}

/** The number of the word that is probably being heard after so many seconds, where the voice tells no times. */
export function guessPlace(text, seconds) {
  let ahead = seconds * CHARACTERS_PER_SECOND;
  const words = wordsOf(text);
  const place = words.findIndex((word) => {
    ahead -= word.length + 1;
    return ahead < 0;
  });
  return place < 0 ? Math.max(0, words.length - 1) : place;
}

/** The last lines of a text that grows while the user speaks. */
export function tail(text) {
  const lines = [];
  for (const word of wordsOf(text).slice(-LINE * LINES).map(short).reverse()) {
    const line = lines[0];
    if (line && word.length + 1 + line.length <= LINE) lines[0] = `${word} ${line}`;
    else if (lines.length < LINES) lines.unshift(word);
    else break;
  }
  return lines;
}

/**
 * The lines to show now.
 * @param ms of the response's sound that have reached the ear
 */
export function captionOf({ call, words }, ms) {
  if (call.phase !== "connected") return [];
  if (call.hearing) return tail(words.entries.findLast(({ role, awaiting }) => role === "user" && awaiting)?.text ?? "");
  if (!call.playing) return [];
  const spoken = words.entries.filter(({ response, text }) => text && response && response === call.playing.response);
  // Of several parts of a response the one that has begun last is being heard.
  const timed = spoken.findLast((entry) => entry.words[0]?.start_ms <= ms);
  if (timed) return linesAt(timed.text, begunAt(timed.words, ms) - 1);
  if (spoken.some((entry) => entry.words.length)) return []; // it has not begun
  const text = spoken.map((entry) => entry.text).join(" ");
  return linesAt(text, guessPlace(text, Math.max(0, ms) / 1000));
}
