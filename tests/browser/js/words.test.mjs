import assert from "node:assert/strict";
import { test } from "node:test";

import { captionOf, linesAt, LINE, LINES, guessPlace, pagesOf, tail } from "../../../static/js/words/captions.js";
import { append, begunAt, cut, endOf, partsAt, split, wordsOf } from "../../../static/js/words/karaoke.js";
import { nameOf, toJson, toMarkdown, toVtt } from "../../../static/js/words/export.js";

const TEXT = "Paris is  the capital\nof France.";
const TIMES = wordsOf(TEXT).map((text, place) => ({ text, start_ms: place * 100, end_ms: place * 100 + 80 }));

test("a word begins at its time, and the last one stays", () => {
  assert.deepEqual([-1, 0, 99, 100, 9999].map((ms) => begunAt(TIMES, ms)), [0, 1, 1, 2, 6]);
  assert.equal(begunAt([], 5), 0);
});

test("the three parts of a text are the text", () => {
  for (let count = -1; count < 9; count += 1) {
    for (const silent of [false, true]) assert.equal(split(TEXT, count, silent).join(""), TEXT);
  }
  assert.deepEqual(split(TEXT, 3), ["Paris is", "  the", " capital\nof France."]);
  assert.equal(endOf(TEXT, 99), TEXT.length);
});

test("what has been said, what sounds, what is to come", () => {
  assert.deepEqual(partsAt(TEXT, TIMES, -5), ["", "", TEXT]);
  assert.deepEqual(partsAt(TEXT, TIMES, 110)[1].trim(), "is");
  assert.equal(partsAt(TEXT, TIMES, 190)[1], "", "between two words none is marked");
  assert.deepEqual(partsAt(TEXT, TIMES, 9999), [TEXT, "", ""]);
  assert.equal(partsAt(TEXT, [], 10), null);
});

test("a cut keeps the server's words and strikes the rest through", () => {
  assert.deepEqual(cut(TEXT, "Paris is the"), { heard: "Paris is the", unheard: "capital\nof France." });
  assert.deepEqual(cut(TEXT, ""), { heard: "", unheard: TEXT });
  assert.deepEqual(cut(TEXT, TEXT), { heard: TEXT, unheard: "" });
  assert.deepEqual(cut(TEXT, "Paris is the capi"), { heard: "Paris is the capi", unheard: "tal of France." });
  assert.deepEqual(cut("other words", "Paris is the"), { heard: "Paris is the", unheard: "" });
});

test("times come in pieces; what is none is left out, and they are bounded", () => {
  const good = { text: "a", start_ms: 0, end_ms: 1 };
  assert.deepEqual(append([good], [good, { text: 1 }, null, { text: "b", start_ms: "x", end_ms: 2 }], 10), [good, good]);
  assert.deepEqual(append([], "no list", 10), []);
  assert.equal(append([], Array(50).fill(good), 20).length, 20);
});

test("captions have two lines of forty characters, and every word is on one page", () => {
  const long = `${"word ".repeat(200)}and ${"x".repeat(20_000)} the end. ${"More of it, ".repeat(30)}`;
  const pages = pagesOf(long);
  for (const { lines } of pages) {
    assert.ok(lines.length <= LINES && lines.every((line) => line.length <= LINE && line.length > 0));
  }
  const words = pages.flatMap(({ lines }) => lines.flatMap(wordsOf));
  assert.equal(words.length, wordsOf(long).length);
  wordsOf(long).forEach((word, place) => {
    if (word.length <= LINE) assert.ok(linesAt(long, place).join(" ").includes(word));
  });
  assert.deepEqual(linesAt("", 0), []);
});

test("a sentence begins on a page of its own", () => {
  const text = "One moment. This clause is long enough to be cut at its end, and what follows goes on for a while.";
  assert.deepEqual(linesAt(text, 0), ["One moment."]);
  assert.deepEqual(linesAt(text, 2), ["This clause is long enough to be cut at", "its end, and what follows goes on for a"]);
  assert.deepEqual(linesAt(text, 99), ["while."]);
  assert.deepEqual(linesAt("Oh. No. Not now.", 0), ["Oh. No. Not now."]);
});

test("without times the place is guessed", () => {
  const text = "word ".repeat(30);
  assert.equal(guessPlace(text, 0), 0);
  assert.equal(guessPlace(text, 1), 3);
  assert.equal(guessPlace(text, 99), 29);
  assert.equal(guessPlace("", 1), 0);
});

test("a growing text shows its end", () => {
  assert.deepEqual(tail("what is"), ["what is"]);
  const lines = tail(`${"so many words ".repeat(60)}to the end`);
  assert.ok(lines.length === LINES && lines.every((line) => line.length <= LINE) && lines[1].endsWith("to the end"));
  assert.deepEqual(tail(""), []);
});

test("the caption is the line being heard", () => {
  const text = "One moment. Paris is the capital of France, and has been so for a long time.";
  const times = wordsOf(text).map((word, n) => ({ text: word, start_ms: n * 100, end_ms: n * 100 + 80 }));
  const state = (words, call = { phase: "connected", playing: { response: "r", since: 0 } }) =>
    ({ call, words: { entries: [{ role: "assistant", response: "r", text, words }] } });
  assert.deepEqual(captionOf(state(times), -50), []);
  assert.deepEqual(captionOf(state(times), 150), ["One moment."]);
  assert.deepEqual(captionOf(state(times), 210)[0], "Paris is the capital of France, and has");
  assert.deepEqual(captionOf(state([]), 150), ["One moment."], "without times by the usual rate");
  assert.deepEqual(captionOf(state([]), 9999)[0], "Paris is the capital of France, and has");
  assert.deepEqual(captionOf(state(times, { phase: "connected", playing: null }), 150), []);
  assert.deepEqual(captionOf(state(times, { phase: "idle", playing: { response: "r" } }), 150), []);
  const hearing = { call: { phase: "connected", hearing: true }, words: { entries: [{ role: "user", awaiting: true, text: "what is" }] } };
  assert.deepEqual(captionOf(hearing, 0), ["what is"]);
});

const HEADING = { title: "visavis", origin: Date.UTC(2026, 10, 29, 7, 35), start: 1000, session: "sess_1",
  names: { user: "You", assistant: "Assistant", tool: "Tool", unheard: "not heard" } };
const LINES_OF_TALK = [
  { role: "user", text: "What is *that* <b>?", from: 1500, to: 2500 },
  { role: "assistant", text: "Paris is the", unheard: "capital", interrupted: true, from: 3000, to: 3400,
    words: TIMES.slice(0, 3) },
  { role: "note", text: "New conversation." },
  { role: "user", text: "" },
  { role: "user", text: "-->\n\nstop", from: 3_723_004, to: null },
];

test("a transcript in Markdown", () => {
  const text = toMarkdown(LINES_OF_TALK, HEADING);
  assert.ok(text.startsWith("# visavis\n\n2026-11-29T07:35:01.000Z · sess_1\n"));
  assert.ok(text.includes("**You** (00:00:00): What is \\*that\\* \\<b\\>?"));
  assert.ok(text.includes("**Assistant** (00:00:02): Paris is the ~~capital~~ *(not heard)*"));
  assert.ok(text.includes("*New conversation.*"));
});

test("a transcript in JSON", () => {
  const data = JSON.parse(toJson(LINES_OF_TALK, HEADING));
  assert.equal(data.session_id, "sess_1");
  assert.deepEqual(data.turns[1], { role: "assistant", text: "Paris is the", unheard: "capital", interrupted: true,
    start_ms: 2000, end_ms: 2400, words: TIMES.slice(0, 3) });
  assert.equal(data.turns.length, 4);
  assert.equal(data.turns[3].end_ms, null);
});

test("a transcript in WebVTT, as a player reads it", () => {
  const blocks = toVtt(LINES_OF_TALK, HEADING).trim().split("\n\n");
  assert.equal(blocks[0], "WEBVTT");
  assert.equal(blocks[1], "00:00:00.500 --> 00:00:01.500\n<v You>What is *that* &lt;b&gt;?");
  assert.equal(blocks[2], "00:00:02.000 --> 00:00:02.280\n<v Assistant>Paris is the");
  assert.match(blocks[3], /^01:02:02\.004 --> 01:02:0\d\.\d{3}\n<v You>--&gt; stop$/);
  assert.equal(blocks.length, 4);
  const long = toVtt([{ role: "assistant", text: "word ".repeat(100).trim(), from: 1000, to: 11_000 }], HEADING);
  const times = long.match(/[\d:.]+ --> [\d:.]+/g);
  assert.equal(times.length, 7);
  assert.equal(times.at(-1).split(" --> ")[1], "00:00:10.000");
});

test("the file says when the conversation was", () => {
  assert.equal(nameOf(HEADING, "md"), "visavis-2026-11-29-0735.md");
});
