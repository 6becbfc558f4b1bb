// The pure parts of a call: whose fault it is, when to try again, when a press is a turn, what a key means.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, Unreachable } from "../../../static/js/call/api.js";
import { createLateCall } from "../../../static/js/call/late.js";
import { detailsOf, note } from "../../../static/js/call/details.js";
import { createServerStatus } from "../../../static/js/call/server_status.js";
import { createPushToTalk } from "../../../static/js/call/push_to_talk.js";
import { explain, isMeant, isWorthWaiting, lostProblem, needsKey, sentence, unsupported } from "../../../static/js/call/refusals.js";
import { Pause, TRIES, pauseBefore, secondsToWait } from "../../../static/js/call/resume.js";
import { watch } from "../../../static/js/call/watch.js";
import { legal } from "../../../static/js/state/devices.js";
import { loudness, silenceWatch } from "../../../static/js/devices/levels.js";
import { DeviceError, openBoth, openMicrophone, reasonOf } from "../../../static/js/devices/media.js";
import { optionsOf } from "../../../static/js/devices/pickers.js";
import { ALL as en } from "./words.mjs";
import { createStore, initialOf, reduce } from "../../../static/js/state/store.js";
import { slices } from "../../../static/js/state/slices.js";
import { statusOf } from "../../../static/js/state/call.js";
import { meaningOf } from "../../../static/js/view/keys.js";
import { createTell, secondsLeft, wordsFor } from "../../../static/js/view/problems.js";

const t = (key, values = {}) => {
  assert.ok(Object.hasOwn(en, key), `no words for ${key}`);
  return en[key].replace(/\{(\w+)\}/g, (_, name) => {
    assert.ok(Object.hasOwn(values, name), `${key} has nothing for {${name}}`);
    return values[name];
  });
};
const facts = { host: "here:7860", https: false, hasKey: false, reached: true };
const refused = (name, message = "") => Object.assign(new Error(message), { name });

test("a device is refused for its own reason", () => {
  const reason = (error, permission = "", allowed = true) => reasonOf(error, permission, allowed);
  assert.equal(reason(refused("NotAllowedError"), "denied"), "denied");
  assert.equal(reason(refused("NotAllowedError"), "prompt"), "dismissed");
  assert.equal(reason(refused("NotAllowedError", "Permission denied by system"), "denied"), "system");
  assert.equal(reason(refused("NotAllowedError"), "denied", false), "policy");
  assert.equal(reason(refused("NotFoundError")), "missing");
  assert.equal(reason(refused("OverconstrainedError")), "missing");
  assert.equal(reason(refused("NotReadableError")), "busy");
  assert.equal(reason(refused("AbortError")), "busy");
});

test("every cause has a title and a text of its own", () => {
  const devices = ["policy", "denied", "dismissed", "system", "missing", "busy"].map((one) => new DeviceError("mic", one));
  const answers = [[403, "host_not_allowed"], [429, "too_many_connections"], [503, "server_full"], [503, "warming_up"],
    [500, "internal_error"], [400, "invalid_sdp"]].map(([status, code]) => new ApiError(status, { message: "in its words", code }, 7));
  const problems = [
    ...[...devices, ...answers, new Unreachable(), new TypeError("x")].map((error) => explain(error, facts)),
    explain(new Unreachable(), { ...facts, https: true, reached: false }),
    unsupported({ secure: false, webrtc: true }), unsupported({ secure: true, webrtc: false }),
    needsKey(false), needsKey(true),
    lostProblem("gone"), lostProblem("gone", "nobody has spoken"), lostProblem("no_path", "", ["local: host udp"]),
    { code: "reconnecting", values: { attempt: 1, tries: 5 } },
  ];
  const told = problems.map((problem) => wordsFor(problem, t));
  assert.ok(problems.length >= 20);
  assert.equal(new Set(told.map(({ title }) => title)).size, problems.length);
  assert.equal(new Set(problems.map(({ code }) => code)).size, problems.length);
  for (const { title, text } of told) assert.doesNotMatch(title + text, /Error|undefined|console|\{|\}/);
  for (const { retry } of problems) assert.ok(!retry || en[retry]);
});

test("every notice that is made has words", () => {
  const made = [];
  const tell = createTell({ dispatch: (event) => made.push(event), t });
  const reasons = ["denied", "dismissed", "system", "missing", "busy", "policy", "gone", "lost"];
  for (const device of ["mic", "camera"]) reasons.forEach((reason) => tell(`${device}_${reason}`, { name: "A", other: "B" }));
  ["mic_insecure", "muted_speaking", "hold_to_talk", "nothing_heard", "screen_failed", "screen_unseen"].forEach((code) => tell(code));
  tell("mic_silent", { name: "A" });
  tell("pipeline_unknown", { name: "A" });
  tell("engine_missing", { reason: "libEGL is missing" });
  assert.equal(new Set(made.map(({ text }) => text)).size, made.length);
  for (const { action } of made) assert.ok(!action || en[`notice.do.${action}`]);
  ["time_limit", "size_limit", "disk_full", "failed", "lost"].forEach((reason) => t(`recording.reason.${reason}`));
});

test("what the server says is worth waiting for, with its progress", () => {
  const progress = [{ engine: "stt", name: "x", percent: 62 }, { engine: "llm", name: "y", percent: null }];
  const problem = explain(new ApiError(503, { code: "warming_up", message: "m", retry_after: 3, progress }), facts);
  assert.equal(problem.wait, 3);
  assert.match(wordsFor(problem, t).text, /speech-to-text 62 %, language model/);
  assert.equal(explain(new ApiError(401, { code: "missing_api_key" }), facts).code, "unauthorised");
  assert.equal(explain(new ApiError(401, {}), { ...facts, hasKey: true }).code, "key_wrong");
  assert.equal(sentence("all places are taken"), "All places are taken.");
  assert.ok(isMeant("the session has ended: idle") && !isMeant("the server is shutting down") && !isMeant(""));
});

test("a server that is being replaced is waited for, and one behind a proxy that has lost it is tried again", () => {
  const problem = explain(new ApiError(503, { code: "worker_restarting", message: "m" }, 5), facts);
  assert.ok(isWorthWaiting(problem));
  wordsFor(problem, t);
  const passing = (status) => Boolean(explain(new ApiError(status, {}), facts).passing);
  assert.deepEqual([502, 503, 504, 429, 500, 400].map(passing), [true, true, true, true, false, false]);
});

test("that nobody hears is not said any longer than it is so", () => {
  const told = (...events) => [{ type: "client.notice", text: "muted", level: "info", code: "muted_speaking" },
    { type: "client.notice", text: "else", level: "info", code: "mic_silent" }, ...events]
    .reduce((state, event) => reduce(slices, state, { at: 0, ...event }), initialOf(slices)).problems.notices.map(({ text }) => text);
  assert.deepEqual(told({ type: "client.muted", muted: true }), ["muted", "else"]);
  assert.deepEqual(told({ type: "client.muted", muted: false }), ["else"]);
  assert.deepEqual(told({ type: "client.stopped" }), ["else"]);
});

test("pauses double, and waiting is bounded", () => {
  const pauses = Array.from({ length: TRIES }, (_, n) => pauseBefore(n, () => 0));
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000]);
  assert.deepEqual([12, null, 0, 1e9].map(secondsToWait), [12, 5, 1, 120]);
  assert.deepEqual([secondsLeft(2500, 0), secondsLeft(2500, 2400), secondsLeft(2500, 9000)], [3, 1, 0]);
  const ended = [];
  const pause = new Pause();
  pause.begin(1e6, () => ended.push(1));
  pause.begin(1e6, () => ended.push(2));
  pause.end();
  pause.end();
  assert.deepEqual(ended, [2]);
});

function talking() {
  const log = [];
  const clock = { time: 0, timers: [], now: () => clock.time,
    after(ms, then) {
      const timer = { at: clock.time + ms, then };
      clock.timers.push(timer);
      return () => { clock.timers = clock.timers.filter((one) => one !== timer); };
    },
    pass(ms) {
      clock.time += ms;
      const due = clock.timers.filter(({ at }) => at <= clock.time);
      clock.timers = clock.timers.filter(({ at }) => at > clock.time);
      due.forEach(({ then }) => then());
    } };
  const talk = createPushToTalk({ clock, send: ({ type }) => Boolean(log.push(type)), hush() {},
    listen: (on) => log.push(on ? "open" : "shut"), tell: (code) => log.push(code) });
  const taken = () => log.splice(0);
  return { talk, clock, taken };
}

test("what is said while the button is held is a turn, with its tail", () => {
  const { talk, clock, taken } = talking();
  talk.press();
  talk.press(); // a key repeats
  assert.deepEqual(taken(), ["open", "input_audio_buffer.clear"]);
  clock.pass(400);
  talk.release();
  talk.release(); // pointerup, lostpointercapture and blur all come
  assert.deepEqual(taken(), []);
  clock.pass(199);
  assert.deepEqual(taken(), []);
  clock.pass(1);
  assert.deepEqual(taken(), ["shut", "input_audio_buffer.commit"]);
  talk.told({ type: "input_audio_buffer.committed" });
  talk.told({ type: "input_audio_buffer.committed" }); // another's
  assert.deepEqual(taken(), ["response.create"]);
});

test("a button that was held in silence asks for no answer", () => {
  const { talk, clock, taken } = talking();
  talk.press();
  clock.pass(400);
  talk.release();
  clock.pass(200);
  taken();
  talk.told({ type: "error", error: { code: "rate_limit_exceeded" } });
  talk.told({ type: "error", error: { code: "input_audio_buffer_commit_empty" } });
  talk.told({ type: "input_audio_buffer.committed" });
  assert.deepEqual(taken(), ["nothing_heard"]);
});

test("a press too short is dropped and explained", () => {
  const { talk, clock, taken } = talking();
  talk.press();
  clock.pass(149);
  talk.release();
  clock.pass(1000);
  assert.deepEqual(taken(), ["open", "input_audio_buffer.clear", "shut", "input_audio_buffer.clear", "hold_to_talk"]);
});

test("of twenty rapid presses every one that is long enough is a turn", () => {
  const { talk, clock, taken } = talking();
  for (let n = 0; n < 20; n += 1) {
    talk.press();
    clock.pass(n % 2 ? 160 : 60);
    talk.release();
    clock.pass(40); // within the tail
  }
  clock.pass(1000);
  const log = taken();
  assert.equal(log.filter((one) => one === "input_audio_buffer.commit").length, 10);
  assert.equal(log.filter((one) => one === "hold_to_talk").length, 10);
  assert.equal(log.filter((one) => one === "open").length, log.filter((one) => one === "shut").length);
  talk.press();
  talk.cancel();
  clock.pass(1000);
  assert.deepEqual(taken(), ["open", "input_audio_buffer.clear", "shut"]);
});

test("keys mean what has a button, and nothing while something is typed", () => {
  const free = { pushToTalk: false, replying: false, enabled: true };
  const key = (name, more = {}) => ({ key: name, ctrl: false, alt: false, repeat: false, typing: false, operable: false, ...more });
  const means = (name, more, state) => meaningOf(key(name, more), { ...free, ...state });
  assert.equal(means("m"), "click:mute");
  assert.equal(means("M"), "click:mute");
  assert.equal(means("m", { typing: true }), "");
  assert.equal(means("m", {}, { enabled: false }), "");
  assert.equal(means("m", { repeat: true }), "");
  assert.equal(means("Escape", { typing: true }), "escape");
  assert.equal(means("e", { ctrl: true, typing: true }), "end");
  assert.equal(means("e"), "");
  assert.equal(means(" "), "");
  assert.equal(means(" ", {}, { replying: true }), "hush");
  assert.equal(means(" ", {}, { pushToTalk: true, replying: true }), "talk");
  assert.equal(means(" ", { operable: true }, { pushToTalk: true }), "");
  assert.deepEqual([means("?"), means("/"), means("x")], ["help", "text", ""]);
});

test("only what is legal is taken from the storage", () => {
  assert.deepEqual(legal({ microphone: { id: 7 }, volume: 9, pushToTalk: "yes", camera: { id: "c", label: "Cam" } }),
    { microphone: null, camera: { id: "c", label: "Cam" }, speaker: null, volume: 1, withCamera: true, pushToTalk: false });
  assert.deepEqual(legal(null), legal({}));
});

test("a chosen device that is not there stands in the list as not found", () => {
  const options = optionsOf([{ id: "default", label: "Default" }, { id: "a", label: "<b>A</b>" }, { id: "b", label: "" }],
    { id: "gone", label: "Headset" }, t);
  assert.deepEqual(options.map(({ label }) => label), ["Chosen by the browser", "<b>A</b>", "Device 3", "Headset (not found)"]);
});

test("a microphone that hears nothing is told once, one that works never", () => {
  const dead = silenceWatch(1000);
  assert.deepEqual([0, 500, 1000, 2000].map((now) => dead(0, now)), [false, false, true, false]);
  const works = silenceWatch(1000);
  assert.deepEqual([[0.01, 0], [0, 500], [0, 5000]].map(([level, now]) => works(level, now)), [false, false, false]);
  assert.equal(loudness(0), 0);
  assert.equal(loudness(1), 1);
});

test("the state goes through a loss and back, and keeps the devices", () => {
  let state = initialOf(slices);
  const happens = (event) => { state = reduce(slices, state, { at: 0, ...event }); };
  const seen = [];
  const steps = [
    { type: "client.connecting", typing: false, asking: true },
    { type: "client.media", microphone: true, camera: true, names: {} },
    { type: "client.calling" },
    { type: "client.answered", session_id: "sess_1", resumed: false },
    { type: "client.connected" },
    { type: "client.faltering", faltering: true },
    { type: "client.reconnecting", attempt: 1, tries: 5, until: 1 },
    { type: "client.calling" },
    { type: "client.answered", session_id: "sess_2", resumed: true },
    { type: "client.connected" },
    { type: "client.muted", muted: true },
    { type: "client.stopped" },
  ];
  for (const step of steps) {
    happens(step);
    seen.push(statusOf(state));
  }
  assert.deepEqual(seen, ["asking", "asking", "connecting", "connecting", "listening", "reconnecting", "reconnecting",
    "reconnecting", "reconnecting", "listening", "muted", "idle"]);
  assert.equal(state.problems.problem, null);
});

test("the details for a helper hold no word, no key and no sound", () => {
  note(Array.from({ length: 80 }, (_, n) => ({ type: "conversation.item.added", at: n, item: { content: "secret words" } })));
  note([{ type: "client.sent", at: 90, event: { type: "session.update", session: { key: "secret words" } } }]);
  const text = JSON.stringify(detailsOf(initialOf(slices), null, { page: "http://here/", agent: "A", languages: ["en"], secure: true }));
  assert.ok(!text.includes("secret"));
  assert.equal(JSON.parse(text).events.length, 50);
  assert.ok(text.includes("sent session.update"));
});

test("a process of the server is watched until there is news of it, and not where nobody tells", async () => {
  const watched = (answers) => new Promise((resolve) => {
    const told = [];
    const ask = async (session) => {
      told.push(session);
      const answer = answers.shift();
      if (answer instanceof Error) {
        setTimeout(() => resolve([told, null]));
        throw answer;
      }
      return answer;
    };
    watch("sess_1", (state) => resolve([told, state]), ask);
  });
  assert.deepEqual(await watched([{ state: "serving", again_in: 0 }, { state: "gone", again_in: 0 }]), [["sess_1", "sess_1"], "gone"]);
  assert.deepEqual(await watched([{ state: "leaving" }]), [["sess_1"], "leaving"]);
  assert.deepEqual(await watched([new ApiError(404, {}, null)]), [["sess_1"], null]);
  let ended = false;
  let answer;
  const stop = watch("sess_1", () => { ended = true; }, () => new Promise((resolve) => { answer = resolve; }));
  stop();
  answer({ state: "gone" });
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(ended, false, "a session that has ended meanwhile has no news");
});

/** @param present ids of what is plugged in @returns what was asked for, as getUserMedia is given it */
function plugged(context, ...present) {
  const asked = [];
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  context.after(() => (before ? Object.defineProperty(globalThis, "navigator", before) : delete globalThis.navigator));
  const track = (id, wanted) => (wanted ? [{ id }] : []);
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { mediaDevices: { async getUserMedia({ audio, video }) {
    const ids = [audio, video].map((one) => one?.deviceId?.exact ?? "");
    asked.push(ids.join());
    if (ids.some((id) => id && !present.includes(id))) throw refused("OverconstrainedError");
    return { getAudioTracks: () => track(ids[0], audio), getVideoTracks: () => track(ids[1], video) };
  } } } });
  return asked;
}

test("where one chosen device is not there, the other one is opened all the same", async (context) => {
  const opened = async (...present) => {
    plugged(context, ...present);
    const { microphone, camera } = await openBoth({ microphone: "mic", camera: "cam", sound: {} });
    return [microphone.id, camera.id];
  };
  assert.deepEqual(await opened("mic", "cam"), ["mic", "cam"]);
  assert.deepEqual(await opened("cam"), ["", "cam"]);
  assert.deepEqual(await opened("mic"), ["mic", ""]);
  assert.deepEqual(await opened(), ["", ""]);
  const asked = plugged(context);
  assert.equal((await openMicrophone("mic")).id, "");
  assert.deepEqual(asked, ["mic,", ","]);
});

test("what is on its way is asked for again after a call in which nobody did", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const rows = [{ stage: "stt", engine: "a", fetching: [{ state: "fetching", percent: 43 }] }];
  let answers = 0;
  context.mock.method(globalThis, "fetch", async () => {
    answers += 1;
    return { ok: true, headers: new Map(), json: async () => ({ engines: rows }) };
  });
  const store = createStore(slices, () => 0);
  const server = createServerStatus(store);
  const settled = () => new Promise((then) => setImmediate(then));
  const happens = async (...events) => {
    events.forEach(store.dispatch);
    await settled();
  };
  await server.refresh();
  await happens({ type: "client.connecting" }, { type: "client.connected" });
  context.mock.timers.tick(60_000);
  await settled();
  assert.equal(answers, 1, "a call tells itself");
  await happens({ type: "client.stopped" });
  context.mock.timers.tick(60_000);
  await settled();
  assert.equal(answers, 2);
});

test("what is asked for before the code is there is done in that order, and who asks again loads again", async () => {
  const done = [];
  const loads = [];
  const late = createLateCall({
    store: { dispatch: ({ problem }) => done.push(problem.code) },
    load: () => new Promise((resolve, reject) => loads.push({ resolve, reject })),
  });
  globalThis.location ??= { host: "here", protocol: "http:" };
  const failed = late.start();
  loads[0].reject(new TypeError("away"));
  await failed;
  const asked = [late.start({ typing: false }), late.ready().then((there) => done.push(`typed ${there}`)), late.share()];
  loads[1].resolve({ start: () => done.push("started"), share: () => done.push("shared") });
  await Promise.all(asked);
  assert.deepEqual(done, ["server_unreachable", "started", "typed true", "shared"]);
  assert.equal(loads.length, 2);
});
