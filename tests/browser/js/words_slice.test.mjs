import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_ENTRIES, MAX_TEXT, transcriptOf, visibleEntries, words } from "../../../static/js/state/words.js";

const IDLE = { call: { playing: null } };
const live = (events, all = IDLE, slice = words.initial) =>
  events.reduce((now, event) => words.handlers[event.type](now, event, all), slice);
const delta = (text, item = "a") =>
  ({ type: "response.output_audio_transcript.delta", response_id: "r", item_id: item, delta: text });
const TIMES = ["Paris", "is", "the", "capital"].map((text, n) => ({ text, start_ms: n * 100, end_ms: n * 100 + 90 }));

test("an interrupted response keeps what was heard, and knows what was not", () => {
  const slice = live([
    delta("Paris is the "), delta("capital of France."),
    { type: "turn.words", response_id: "r", item_id: "a", words: TIMES.slice(0, 2) },
    { type: "turn.words", response_id: "r", item_id: "a", words: TIMES.slice(2), estimated: true },
    { type: "output_audio_buffer.started", response_id: "r", at: 1000 },
    { type: "output_audio_buffer.cleared", response_id: "r", at: 1300 },
    { type: "response.output_audio_transcript.done", response_id: "r", item_id: "a", transcript: "Paris is the" },
    { type: "response.done", response: { id: "r", status: "cancelled", output: [] } },
    { type: "conversation.item.truncated", item_id: "a", audio_end_ms: 290, transcript: "Paris is the" },
    delta(" too late"),
    { type: "turn.words", response_id: "r", item_id: "a", words: TIMES },
  ]);
  const [entry] = slice.entries;
  assert.deepEqual([entry.text, entry.unheard, entry.interrupted, entry.final], ["Paris is the", "capital of France.", true, true]);
  assert.deepEqual([entry.from, entry.to, entry.words, entry.estimated], [1000, 1300, TIMES, true]);
});

test("what joins a response that sounds already has its beginning", () => {
  const playing = { call: { playing: { response: "r", since: 500 } } };
  assert.equal(live([delta("x")], playing).entries[0].from, 500);
  assert.equal(live([delta("x")], { call: { playing: { response: "other", since: 500 } } }).entries[0].from, null);
  assert.equal(live([{ type: "output_audio_buffer.stopped", at: 700 }], playing, live([delta("x")], playing)).entries[0].to, 700);
});

test("a function and what came of it are one card, whoever runs it", () => {
  const server = live([
    { type: "conversation.item.added", at: 5, item: { id: "f", type: "function_call", call_id: "c", name: "clock", arguments: "{}" } },
    { type: "conversation.item.done", item: { id: "f", type: "function_call", call_id: "c", name: "clock", arguments: "{}" } },
    { type: "conversation.item.added", item: { id: "o", type: "function_call_output", call_id: "c", output: "noon" } },
  ]);
  assert.deepEqual(server.entries.map(({ role, tool }) => [role, tool]),
    [["tool", { name: "clock", call: "c", arguments: "{}", output: "noon" }]]);
  const client = live([
    { type: "response.output_item.added", response_id: "r", item: { id: "f", type: "function_call", call_id: "c", name: "lamp", arguments: "" } },
    { type: "response.function_call_arguments.done", response_id: "r", item_id: "f", call_id: "c", name: "lamp", arguments: '{"on":true}' },
  ]);
  assert.deepEqual(client.entries[0].tool, { name: "lamp", call: "c", arguments: '{"on":true}', output: null });
  assert.equal(visibleEntries(client).length, 1);
  assert.deepEqual(transcriptOf(client), []);
});

test("a card is complete when its function has answered", () => {
  const called = { type: "conversation.item.added", item: { id: "f", type: "function_call", call_id: "c", name: "clock", arguments: "{}" } };
  const answered = { type: "conversation.item.added", item: { id: "o", type: "function_call_output", call_id: "c", output: "noon" } };
  assert.equal(live([called]).entries[0].final, false);
  assert.equal(live([called, answered]).entries[0].final, true);
  assert.equal(live([called, answered, { ...called, type: "conversation.item.done" }]).entries[0].final, true);
});

test("a turn that failed says so where it failed", () => {
  const slice = live([
    { type: "client.said", id: "t1", text: "hello", at: 1 },
    { type: "conversation.item.added", item: { id: "t1", type: "message", role: "user", content: [{ type: "input_text", text: "hello" }] } },
    { type: "response.done", at: 9, response: { id: "r", status: "failed", status_details: { error: { code: "llm_timeout", message: "too slow" } } } },
  ]);
  assert.deepEqual(slice.entries.map(({ role, waiting, text, code }) => [role, waiting, text, code]),
    [["user", false, "hello", ""], ["failure", false, "too slow", "llm_timeout"]]);
});

test("words that may not be for the assistant stay out of sight", () => {
  const partial = { type: "visavis.partial_transcript", item_id: "u", transcript: "the radio" };
  assert.equal(visibleEntries(live([partial])).length, 0);
  assert.equal(visibleEntries(live([{ type: "input_audio_buffer.speech_started", item_id: "u" }, partial])).length, 1);
  const gone = live([partial, { type: "conversation.item.input_audio_transcription.completed", item_id: "u", transcript: " " }]);
  assert.equal(gone.entries.length, 0);
});

test("a new conversation begins below the old one, and its waiting words behind the note", () => {
  const before = live([delta("old"), { type: "client.stopped" }]);
  const said = live([{ type: "client.said", id: "t", text: "new" }], IDLE, before);
  const now = live([{ type: "client.answered", resumed: false }], IDLE, said);
  assert.deepEqual(now.entries.map(({ role, note }) => note || role), ["assistant", "new_conversation", "user"]);
  assert.equal(live([{ type: "client.answered", resumed: true }], IDLE, said), said);
});

test("a conversation of days stays small", () => {
  let slice = words.initial;
  for (let n = 0; n < MAX_ENTRIES + 200; n += 1) slice = live([delta(`reply ${n}`, `a${n}`)], IDLE, slice);
  for (let n = 0; n < 5; n += 1) slice = live([delta("y".repeat(90_000), "long")], IDLE, slice);
  slice = live(Array(30).fill({ type: "turn.words", response_id: "r", item_id: "long", words: Array(500).fill(TIMES[0]) }), IDLE, slice);
  const { text, said, words: times } = slice.entries.at(-1);
  assert.deepEqual([slice.entries.length, text.length, said.length, times.length], [MAX_ENTRIES, MAX_TEXT + 1, MAX_TEXT + 1, 4000]);
});
