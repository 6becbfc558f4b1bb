import assert from "node:assert/strict";
import { test } from "node:test";

import { CAPACITY, EventLog, MAX_TEXT, compact, filterOf, summaryOf, toLines } from "../../../static/js/inspector/event_log.js";
import { arrivals, engines, failuresOf, isFetching, levelsOf, newsOf, takenOver, troubleOf } from "../../../static/js/state/engines.js";
import { NUMBERS, SQUARES, numberOf, squaresOf } from "../../../static/js/inspector/stamp.js";
import { difference, read, sparkline } from "../../../static/js/inspector/stats.js";
import { spread, waterfall } from "../../../static/js/inspector/waterfall.js";
import { MAX_TURNS, heardAfter, latency as latencySlice, latencyOf } from "../../../static/js/state/latency.js";

test("the newest events are kept, in their order", () => {
  const log = new EventLog();
  for (let n = 0; n < CAPACITY + 500; n += 1) log.add({ type: "x", n }, n, n % 2 === 0);
  const kept = log.list();
  assert.equal(kept.length, CAPACITY);
  assert.deepEqual([kept[0].number, kept.at(-1).number, log.count], [500, CAPACITY + 499, CAPACITY + 500]);
  assert.equal(log.list(1000).at(-1).number, 999, "a view that is paused does not move on");
  log.clear();
  assert.deepEqual(log.list(), []);
});

test("what is kept of an event is small", () => {
  const deep = Array.from({ length: 20 }).reduce((inner) => ({ inner }), "core");
  const event = compact({ audio: "A".repeat(60_000), list: Array(500).fill({ text: "t".repeat(2000) }), deep,
    many: Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`k${n}`, n])), no: null, n: 1.5 });
  assert.ok(JSON.stringify(event).length < 100 * MAX_TEXT);
  assert.ok(event.audio.endsWith("(60000 characters)"));
  assert.deepEqual([event.no, event.n], [null, 1.5]);
});

test("events are found by words", () => {
  const entry = { sent: false, event: { type: "vision.changed", scene: "One Person" } };
  const finds = (text) => filterOf(text)(entry);
  assert.deepEqual(["", "vision", "VISION person", "received", "-delta", "-"].map(finds), [true, true, true, true, true, true]);
  assert.deepEqual(["sent", "-vision", "vision cat"].map(finds), [false, false, false]);
});

test("events in a line, and as JSON lines", () => {
  assert.equal(summaryOf({ type: "x", delta: "hello" }), "hello");
  assert.equal(summaryOf({ type: "error", error: { message: "no" } }), "no");
  assert.equal(summaryOf({ type: "x", transcript: { not: "a text" } }), "");
  const lines = toLines([{ at: 1.6, sent: true, event: { type: "a" } }, { at: 3, sent: false, event: { type: "b" } }]);
  assert.deepEqual(lines.split("\n").map((line) => JSON.parse(line)), [
    { at_ms: 2, direction: "sent", event: { type: "a" } }, { at_ms: 3, direction: "received", event: { type: "b" } }]);
});

test("the bars of a waterfall stand one behind the other", () => {
  const turn = { voice_to_voice_ms: 400, saved_ms: 100, heard_ms: 460,
    parts: { first_audio: 30, endpoint: 200, transcript: 0, first_token: 120, first_clause: 50 } };
  const { bars, total, saved, way, sums } = waterfall(turn);
  assert.deepEqual([total, saved, way, sums], [400, 100, 60, true]);
  const steps = bars.filter(({ kind }) => kind === "step");
  assert.deepEqual(steps.map(({ name }) => name), ["endpoint", "transcript", "first_token", "first_clause", "first_audio"]);
  steps.reduce((end, { from, share }) => {
    assert.ok(Math.abs(from - end) < 1e-9);
    return from + share;
  }, 0);
  assert.deepEqual(bars.find(({ kind }) => kind === "saved").from, 400 / 500);
  assert.ok(bars.every(({ from, share }) => from >= 0 && from + share <= 1 + 1e-9));
});

test("parts that do not sum to the whole are told, and nonsense harms nothing", () => {
  assert.equal(waterfall({ voice_to_voice_ms: 400, parts: { endpoint: 300 } }).sums, false);
  assert.equal(waterfall({ voice_to_voice_ms: 303, parts: { endpoint: 300 } }).sums, true);
  const nothing = waterfall({});
  assert.deepEqual([nothing.total, nothing.bars, nothing.heard, nothing.sums], [0, [], null, true]);
  assert.equal(waterfall({ voice_to_voice_ms: 9, parts: { endpoint: "x", later: 9 } }).bars[0].name, "later");
});

test("what the ear got is what the server says, and the way", () => {
  assert.equal(heardAfter({ voiceToVoice: 300, started: 5000, sounded: 5040, rtt: 20, playout: 10 }), 390);
  assert.equal(heardAfter({ voiceToVoice: 300, started: 5000, sounded: 5040, rtt: null, playout: null }), 360);
  assert.equal(heardAfter({ voiceToVoice: 300, started: undefined, sounded: 5040 }), null);
});

const { initial, handlers } = latencySlice;

test("what the ear got joins the turn, whichever is told first", () => {
  const told = { type: "turn.latency", response_id: "r", voice_to_voice_ms: 300, parts: { endpoint: 300 }, saved_ms: 7 };
  const sounded = { type: "client.sounded", response_id: "r", started: 100, sounded: 150, rtt: 10, playout: 0, at: 160 };
  for (const order of [[told, sounded], [sounded, told]]) {
    const latency = order.reduce((slice, event) => handlers[event.type](slice, event), initial);
    assert.deepEqual(latency.turns, [{ response_id: "r", voice_to_voice_ms: 300, parts: { endpoint: 300 }, saved_ms: 7, heard_ms: 380 }]);
    assert.equal(latencyOf(latency, "r"), latency.last);
  }
  assert.equal(latencyOf(initial, null), null);
  let many = initial;
  for (let n = 0; n < MAX_TURNS + 9; n += 1) many = handlers["turn.latency"](many, { ...told, response_id: `r${n}` });
  assert.deepEqual([many.turns.length, many.turns.at(-1).response_id], [MAX_TURNS, `r${MAX_TURNS + 8}`]);
  assert.equal(handlers["turn.latency"](initial, { type: "turn.latency" }), initial);
});

test("median and 95 of 100", () => {
  assert.deepEqual(spread([3, 1, 2, NaN]), { count: 3, median: 2, p95: 2.9, worst: 3 });
  assert.equal(spread([]), null);
});

const entry = (id, type, more) => [id, { id, type, timestamp: 1, ...more }];
const report = (n) => new Map([
  entry("T", "transport", { selectedCandidatePairId: "P2" }),
  entry("P1", "candidate-pair", { nominated: true, state: "succeeded", bytesSent: 1, localCandidateId: "L" }),
  entry("P2", "candidate-pair", { currentRoundTripTime: 0.02, bytesSent: 1000 * n, bytesReceived: 2000 * n,
    localCandidateId: "L", remoteCandidateId: "R" }),
  entry("L", "local-candidate", { candidateType: "relay", protocol: "udp", relayProtocol: "tcp", address: "10.0.0.2", port: 5 }),
  entry("R", "remote-candidate", { candidateType: "host", protocol: "udp", address: "10.0.0.1", port: 6 }),
  entry("A", "inbound-rtp", { kind: "audio", packetsReceived: 90 * n, packetsLost: 10 * n, jitter: 0.004, codecId: "C",
    jitterBufferDelay: 960 * n, jitterBufferEmittedCount: 48_000 * n, concealedSamples: 1000 * n,
    silentConcealedSamples: 520 * n, totalSamplesReceived: 48_000 * n, bytesReceived: 4000 * n, ssrc: 77 }),
  entry("V", "inbound-rtp", { kind: "video", framesDecoded: 25 * n, bytesReceived: 100_000 * n, frameWidth: 640, frameHeight: 480 }),
  entry("O", "outbound-rtp", { kind: "video", framesEncoded: 30 * n, totalEncodeTime: 0.09 * n, bytesSent: 80_000 * n }),
  entry("S", "outbound-rtp", { kind: "video", framesEncoded: 0, totalEncodeTime: 0, bytesSent: 0 }),
  entry("M", "media-playout", { kind: "audio", totalPlayoutDelay: 480 * n, totalSamplesCount: 48_000 * n }),
  entry("C", "codec", { mimeType: "audio/opus" }),
]);

test("readings are compared", () => {
  const [one, two] = [read(report(1), 0), read(report(3), 2000)];
  assert.deepEqual(one.pair.local, { type: "relay", protocol: "udp, tcp", address: "10.0.0.2", port: 5, network: "" });
  assert.equal(one.codecs.audio, "opus");
  const found = difference(one, two);
  const rounded = Object.fromEntries(Object.entries(found).map(([key, value]) =>
    [key, typeof value === "number" ? Math.round(value * 100) / 100 : value]));
  assert.deepEqual(
    [rounded.rttMs, rounded.lossPercent, rounded.jitterMs, rounded.jitterBufferMs, rounded.concealedPercent, rounded.playoutMs],
    [20, 10, 4, 20, 1, 10]);
  assert.deepEqual([rounded.inKbps, rounded.outKbps, rounded.audioInKbps, rounded.videoInKbps], [16, 8, 32, 800]);
  assert.deepEqual([rounded.framesIn, rounded.framesOut, rounded.encodeMs, rounded.size], [25, 30, 3, "640 × 480"]);
});

test("figures that nothing tells are not known, and a new connection begins anew", () => {
  const nothing = difference(read(new Map(), 0), read(new Map(), 1000));
  assert.deepEqual([nothing.rttMs, nothing.lossPercent, nothing.jitterBufferMs, nothing.playoutMs], [null, null, null, null]);
  assert.equal(difference(null, read(report(1), 0)).inKbps, null);
  assert.equal(difference(null, read(report(1), 0)).jitterBufferMs, 20);
  assert.equal(difference(read(report(9), 0), read(report(1), 1000)).inKbps, 16);
});

test("a sparkline has the newest at the right and the greatest at the top", () => {
  assert.equal(sparkline([0, 5, 10], 100, 20, 3), "0.0,20.0 50.0,10.0 100.0,0.0");
  assert.equal(sparkline([NaN, 4], 100, 20, 3), "50.0,20.0 100.0,0.0");
  assert.equal(sparkline([], 100, 20), "");
  assert.equal(sparkline(Array(500).fill(1), 100, 20).split(" ").length, 60);
});

test("a stamp is read again, and nothing else is", () => {
  const light = (squares) => squares.map((white) => (white ? 220 : 40));
  for (const number of [0, 1, 77, 2048, NUMBERS - 1]) {
    assert.equal(squaresOf(number).length, SQUARES);
    assert.equal(numberOf(light(squaresOf(number))), number);
    const wrong = light(squaresOf(number));
    wrong[9] = 260 - wrong[9];
    assert.notEqual(numberOf(wrong), number);
  }
  assert.equal(numberOf(Array(SQUARES).fill(128)), null);
  assert.equal(numberOf([]), null);
  assert.equal(numberOf(light(squaresOf(77)).map((value, place) => (place === 5 ? 130 : value))), null);
});

test("what comes, what failed and what is wrong", () => {
  const rows = [
    { stage: "stt", engine: "pocketsphinx", ok: true, fetching: [{ model: "w", state: "fetching", done: 62, total: 100 }] },
    { stage: "tts", engine: "espeak", ok: false, wanted: "joe", fetching: [{ model: "joe", state: "failed", error: "full" }] },
    { stage: "llm", engine: "none", ok: false, fetching: [{ model: "s", state: "arrived", done: 0, total: 0 }] },
    { stage: "vad", engine: "silero", ok: false },
  ];
  assert.deepEqual(arrivals(rows), [{ stage: "stt", model: "w", percent: 62 }, { stage: "llm", model: "s", percent: null }]);
  assert.deepEqual(arrivals(null), []);
  assert.deepEqual(failuresOf(rows[1]), ["full"]);
  assert.deepEqual(rows.map(troubleOf), ["", "stand_in", "missing", "not_working"]);
  assert.deepEqual(levelsOf({ stt: "basic", llm: "best", tts: "odd" }), [["stt", "basic"], ["llm", "best"]]);
  assert.deepEqual(levelsOf(null), []);
  assert.deepEqual([isFetching(rows), isFetching(rows.slice(3)), isFetching(null)], [true, false, false]);
  const better = { stage: "stt", engine: "whisper", ok: true };
  assert.deepEqual(takenOver(rows, [better, { stage: "new", engine: "x" }]), [{ stage: "stt", engine: "whisper" }]);
  assert.deepEqual([takenOver(null, [better]), takenOver(rows, [{ ...better, ok: false }])], [[], []]);
});

test("what has taken over is news for a while", () => {
  const tell = engines.handlers["engine.status"];
  const before = tell(engines.initial, { at: 0, data: [{ stage: "stt", engine: "pocketsphinx" }] });
  const after = tell(before, { at: 1000, data: [{ stage: "stt", engine: "moonshine" }] });
  assert.deepEqual([0, 1000, 8999, 9000].map((now) => newsOf(after, now).map(({ engine }) => engine)),
    [["moonshine"], ["moonshine"], ["moonshine"], []]);
  assert.deepEqual(newsOf(before, 1), []);
});
