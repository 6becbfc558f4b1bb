import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { takeKeyFromAddress } from "../../../static/js/call/api.js";
import { qr } from "../../../static/js/settings/qr.js";
import { createTeller, mergeVision, sessionFor, turnDetection } from "../../../static/js/settings/session.js";
import { carriedBy, linkFor } from "../../../static/js/settings/share.js";
import { createSettings, legal, read } from "../../../static/js/settings/store.js";
import { keepChoice, readChoice } from "../../../static/js/devices/choice.js";
import { slices } from "../../../static/js/state/slices.js";
import { initialOf, reduce } from "../../../static/js/state/store.js";
import { INITIAL } from "../../../static/js/settings/table.js";

const hash = (rows) =>
  createHash("sha256").update(rows.map((row) => row.map(Number).join("")).join("\n")).digest("hex").slice(0, 16);

// Modules as the Python package qrcode 8 draws them, for the masks 0 to 7.
const VECTORS = {
  "A": ["2bae48594b732587", "43f688a881761c91", "1df28de52a4a3bd0", "bc9009ae87ca68f1", "177b3a1897a152ae", "a6fca46e028f9962", "90e985ca4eb58895", "23eee31305a65603"],
  "https://192.168.1.20:8443/": ["c5ba4a03f388999f", "32d590ed22b0f37c", "50071617d23735e7", "3ad64b8e3682fa41", "6bc5b370d1478cef", "06301221727b9c67", "b6e221545de4e038", "d1b60d75a0ee5264"],
  "https://visavis.example/#pipeline=de&voice=de_DE-thorsten-medium&language=de&x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy": ["21ce25a6c10113b0", "ffad48fcde0840ed", "d68688cce46e8284", "e983b117c3130ebf", "d3831e814963c6b6", "f720060a158d3155", "645e11a93514da50", "6221acb1eb9fab43"],
  "ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€ü€": ["0d72292997a6b701", "384789b86a088fac", "7c6ca35dd9a488ed", "f2fe39fa0f2aec3e", "a8ad7ee87c2290c6", "5812e8b0184dc82e", "a2e30a3ffeed744e", "53e5ed3679ca073e"],
};

test("a QR code has the modules that others draw, with each mask", () => {
  for (const [text, masks] of Object.entries(VECTORS)) {
    const drawn = masks.map((_, mask) => hash(qr(text, mask)));
    assert.deepEqual(drawn, masks);
    assert.ok(masks.includes(hash(qr(text))));
  }
  assert.throws(() => qr("x".repeat(300)), RangeError);
});

test("a link carries what is legal, and no key", () => {
  const link = linkFor("https://a.test/x?q=1#key=secret", { ...INITIAL, voice: "joe", language: "de", theme: "dark" });
  assert.equal(link, "https://a.test/x#voice=joe&language=de");
  assert.deepEqual(carriedBy("#voice=joe&key=secret&theme=dark"), { voice: "joe" });
  assert.deepEqual(carriedBy(""), {});
});

test("what was kept and is not legal is as at first", () => {
  assert.deepEqual(legal({ speed: 99, theme: "pink", voice: "joe", other: 1 }), { ...INITIAL, voice: "joe" });
  assert.deepEqual(legal(null), { ...INITIAL });
});

test("the session is told what was chosen", () => {
  const chosen = { ...INITIAL, voice: "joe", turns: "server_vad", silence: 700, language: "de" };
  assert.deepEqual(sessionFor(chosen, ["voice", "turns"]), { audio: {
    input: { turn_detection: { type: "server_vad", silence_duration_ms: 700, interrupt_response: true } },
    output: { voice: "joe" } } });
  assert.deepEqual(sessionFor(chosen, ["language"]), { audio: { input: { transcription: { language: "de" } } } });
  assert.deepEqual(sessionFor(chosen, ["turns"], { pushToTalk: true }), {});
  assert.deepEqual(sessionFor({ ...chosen, model: "brain:pirate" }, ["model"]), { model: "brain:pirate" });
  assert.deepEqual(turnDetection(INITIAL, { type: "semantic_vad" }), { type: "semantic_vad", interrupt_response: true });
  assert.deepEqual(mergeVision({ overlay: { boxes: false } }, { overlay: { labels: true }, mode: "exact" }),
    { overlay: { boxes: false, labels: true }, mode: "exact" });
});

/** Storage as browsers have it. */
function storage() {
  const kept = new Map();
  return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => void kept.set(name, value) };
}

test("two tabs keep what each has chosen, and nothing of what the other has not changed", (context) => {
  const shared = storage();
  const [one, other] = [0, 1].map(() => createSettings({ dispatch() {}, storage: () => shared }));
  one.merge({ voice: "joe", speed: 1.5 });
  other.set("theme", "dark");
  one.reset(["speed"]);
  assert.deepEqual(read(() => shared), { ...INITIAL, voice: "joe", theme: "dark" });

  const before = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
  Object.defineProperty(globalThis, "localStorage", { value: storage(), configurable: true });
  context.after(() => (before ? Object.defineProperty(globalThis, "localStorage", before) : delete globalThis.localStorage));
  keepChoice({ volume: 0.3 });
  keepChoice({ camera: { id: "c", label: "Cam" } });
  keepChoice({ volume: 7 });
  assert.deepEqual(readChoice(), { microphone: null, camera: { id: "c", label: "Cam" }, speaker: null, volume: 1, withCamera: true, pushToTalk: false });
});

test("a key in a link goes out of the address, and what stands beside it stays", (context) => {
  for (const name of ["location", "history"]) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const visit = (hash) => {
    let address = "";
    globalThis.location = { hash, pathname: "/", search: "?relay" };
    globalThis.history = { replaceState: (_, __, given) => { address = given; } };
    return [takeKeyFromAddress(), address];
  };
  assert.deepEqual(visit("#voice=joe&key=secret&language=de"), [true, "/?relay#voice=joe&language=de"]);
  assert.deepEqual(visit("#key=secret"), [true, "/?relay"]);
  assert.deepEqual(visit("#monkey=1"), [false, ""]);
});

/** What a session is told, and a way to let things happen to it. */
function teller() {
  const sent = [];
  let listener;
  const state = { devices: {}, call: { phase: "idle" }, engines: {} };
  const store = { state, subscribe(then) { listener = then; } };
  const happens = (phase, ...events) => {
    state.call = { ...state.call, phase };
    listener(state, events);
    return sent.splice(0);
  };
  const settings = createSettings({ dispatch: (event) => listener?.(state, [event]), storage });
  return { happens, settings, state, sent, ...createTeller({ store, settings, call: { update: (session) => sent.push(session) } }) };
}

test("what is reset while the connection is lost is told to the session that goes on", () => {
  const { happens, settings, forget, see } = teller();
  settings.set("theme", "dark");
  settings.set("voice", "joe");
  assert.deepEqual(happens("connecting", { type: "client.connecting", again: false }), []);
  assert.deepEqual(happens("connected", { type: "client.connected" }, { type: "session.created", session: { vision: { mode: "exact", looks: 1 } } }),
    [{ audio: { output: { voice: "joe" } } }]);
  see({ mode: "fast" });
  happens("reconnecting");
  settings.reset(["voice"]);
  forget();
  const again = { type: "session.created", session: { vision: { mode: "fast", looks: 1 } } };
  assert.deepEqual(happens("connected", { type: "client.connected" }, again),
    [{ audio: { output: { voice: null } } }, { vision: { mode: "exact", looks: 1 } }]);
  assert.deepEqual(happens("connected", { type: "client.connected" }), [], "it is told once");
  happens("lost");
  settings.reset(["voice"]);
  happens("connecting", { type: "client.connecting", again: false });
  assert.deepEqual(happens("connected", { type: "client.connected" }), [], "another conversation begins as the server has it");
});

test("turn-taking as at first is that of the first session of a call", () => {
  const created = (turn_detection) => ({ type: "session.created", session: { audio: { input: { turn_detection } } } });
  const [first, chosen] = [{ type: "semantic_vad", eagerness: "auto" }, { type: "server_vad", silence_duration_ms: 1500 }];
  const turns = (...events) => events.reduce((state, event) => reduce(slices, state, { at: 0, ...event }), initialOf(slices)).call.turns;
  const lost = [{ type: "client.connecting" }, created(first), { type: "client.reconnecting", attempt: 1 }, created(chosen)];
  assert.deepEqual(turns(...lost), first);
  assert.deepEqual(turns(...lost, { type: "client.failed", problem: {} }, { type: "client.connecting", again: true }, created(chosen)), first);
  assert.deepEqual(turns(...lost, { type: "client.stopped" }, { type: "client.connecting" }, created(chosen)), chosen);
});

test("a recording is asked for again where the connection was lost while it was on, and nowhere else", () => {
  const after = (...events) => events.reduce((state, event) => reduce(slices, state, { at: 0, ...event }), initialOf(slices)).recording;
  const asked = { type: "client.sent", event: { type: "session.update", session: { recording: { enabled: true, video: true } } } };
  const call = (session_id, again) => ({ type: "client.answered", session_id, again });
  const on = { type: "recording.changed", state: "on", seconds: 0, reason: null };
  const off = { type: "recording.changed", state: "off", seconds: 9, reason: "asked" };
  const lost = { type: "client.reconnecting", attempt: 1 };
  const told = ({ on: is, wanted, video, reason, sessions }) => [is, wanted, video, reason, sessions];
  assert.deepEqual(told(after(call("a"), asked, on, lost, call("b", true))), [false, true, true, "lost", ["a"]]);
  assert.deepEqual(told(after(call("a"), asked, on, lost, call("b", true), on)), [true, false, true, null, ["a", "b"]]);
  assert.deepEqual(told(after(call("a"), asked, on, off, lost, call("b", true))), [false, false, true, "asked", ["a"]]);
  assert.deepEqual(told(after(call("a"), asked, on, lost, { type: "client.stopped" }, call("b"))), [false, false, false, null, []]);
  assert.deepEqual(told(after(call("a"), lost, call("b", true))), [false, false, false, null, []]);
});

test("a language that the server does not know any more keeps no other setting from being told", () => {
  const sent = [];
  let happens;
  const all = { ...INITIAL, language: "xx", instructions: "Be brief.", voice: "joe" };
  createTeller({ call: { update: (session) => sent.push(session) }, settings: { all, get: (name) => all[name] },
    store: { state: { devices: {}, call: {}, engines: {} }, subscribe(then) { happens = then; } } });
  happens({ engines: {} }, [{ type: "client.connected" }]);
  assert.deepEqual(sent, [{ audio: { input: { transcription: { language: "xx" } } } },
    { instructions: "Be brief.", audio: { output: { voice: "joe" } } }]);
});
