// Joins the parts: the user's hands → the connection → events → state → the page.

import { fetchEngines, takeKeyFromAddress, useKey } from "./api.js";
import { Connection } from "./connection.js";
import { openDevices, openScreen, stopTracks } from "./devices.js";
import { MAX_WAITING, initialState, isReplying, reduce, snapshotOf, waitingEntries } from "./events.js";
import { isFetching } from "./fetching.js";
import { Meters } from "./meter.js";
import { explain, lostProblem } from "./problems.js";
import { View } from "./view.js";

const STATS_MS = 1000;
const CAPTION_MS = 200;
const ASK_MS = 1500;

let state = initialState();
let connection = null;
let attempt = 0; // an answer that belongs to an earlier attempt is thrown away
let lastTyping = false;
let typed = 0; // messages so far; each has an id of its own
let timers = [];
let asking = 0;
let renderDue = false;

const view = new View({
  toggle: () => (isRunning() ? stop() : start()),
  retry: () => start({ typing: lastTyping }),
  typeInstead: () => { start({ typing: true }); view.focusMessage(); },
  mute: () => setMuted(!state.muted),
  camera: () => setCameraOff(!state.cameraOff),
  share: () => (state.sharing ? unshare() : share()),
  hush,
  say,
  useKey: enterKey,
  see: (vision) => connection?.send({ type: "session.update", session: { type: "realtime", vision } }),
  speak: (language) => { dispatch({ type: "client.language", language }); tellLanguage(language); },
  dismiss: (text) => dispatch({ type: "client.dismissed", text }),
});
const meters = new Meters((name, level) => view.showLevel(name, level));

const isRunning = () => state.phase === "connecting" || state.phase === "connected";

function dispatch(event) {
  state = reduce(state, { ...event, at: performance.now() });
  if (renderDue) return;
  renderDue = true;
  queueMicrotask(() => {
    renderDue = false;
    view.render(state);
    view.renderCaption(state, performance.now());
  });
}

/** @param typing without microphone and camera: the user types, the assistant speaks */
async function start({ typing = false } = {}) {
  if (isRunning()) return undefined;
  const mine = ++attempt;
  lastTyping = typing;
  dispatch({ type: "client.connecting", typing });
  try {
    const { stream, notice } = typing ? { stream: null, notice: null } : await openDevices();
    if (mine !== attempt) return stopTracks(stream);
    dispatch({ type: "client.media", microphone: Boolean(stream), camera: Boolean(stream?.getVideoTracks().length),
      notice });
    connection = new Connection(stream, connectionHandlers);
    watchDevices(stream);
    await connection.open();
  } catch (error) {
    if (mine !== attempt) return undefined; // stopped or restarted meanwhile
    fail(explain(error));
  }
  return undefined;
}

const connectionHandlers = {
  opened() {
    dispatch({ type: "client.connected" });
    timers = [
      setInterval(pollStats, STATS_MS),
      setInterval(() => view.renderCaption(state, performance.now()), CAPTION_MS),
    ];
    if (state.language) tellLanguage(state.language);
    send(waitingEntries(state));
    if (state.engines === null) showEngines();
  },
  event(event) {
    if (typeof event?.type !== "string" || event.type.startsWith("client.")) return; // not for the server to send
    if (event.type === "error") giveBack(waitingEntries(state).filter(({ id }) => id === event.error?.event_id));
    dispatch(event);
  },
  track(track) {
    if (track.kind === "audio") meters.watch("voice", track);
    view.play(track);
  },
  lost: (reason) => fail(lostProblem(reason, state.farewell)),
};

/** @param language a code, or null: it is detected */
function tellLanguage(language) {
  const audio = { input: { transcription: { language } } };
  connection?.send({ type: "session.update", session: { type: "realtime", audio } });
}

function watchDevices(stream) {
  const microphone = stream?.getAudioTracks()[0];
  if (!microphone) return;
  meters.watch("microphone", microphone);
  microphone.addEventListener("ended", () => dispatch({ type: "client.notice", level: "error",
    text: "The microphone was taken away. Plug it in again, then press Stop and Start." }));
}

function release() {
  attempt += 1;
  giveBack(waitingEntries(state));
  timers.splice(0).forEach(clearInterval);
  connection?.close();
  connection = null;
  meters.close();
  view.silence();
}

function stop() {
  release();
  dispatch({ type: "client.stopped" });
}

function fail(problem) {
  release();
  dispatch({ type: "client.failed", problem });
}

async function pollStats() {
  const stats = await connection?.stats().catch(() => null);
  if (stats && connection) dispatch({ type: "client.stats", stats });
}

function setMuted(muted) {
  connection?.setMicrophone(!muted);
  dispatch({ type: "client.muted", muted });
}

function setCameraOff(off) {
  connection?.setCamera(!off);
  dispatch({ type: "client.camera_off", off });
}

async function share() {
  const call = connection;
  try {
    const stream = await openScreen();
    if (!stream) return;
    if (!call || call !== connection) {
      stopTracks(stream);
      return;
    }
    stream.getVideoTracks()[0].addEventListener("ended", unshare); // by the browser's own button
    tellShared(true); // first: a screen that stands still may send its picture only once
    await call.setScreen(stream);
  } catch {
    unshare();
    dispatch({ type: "client.notice", level: "error", text: "The screen could not be shared." });
  }
}

function unshare() {
  connection?.setScreen(null);
  tellShared(false);
}

/** The server cannot tell a screen that stands still from one that is not shared any more. */
function tellShared(sharing) {
  connection?.send({ type: "session.update", session: { type: "realtime", vision: { screen: sharing } } });
  dispatch({ type: "client.sharing", sharing });
}

/** Stop the reply being made and the reply being heard. */
function hush() {
  if (!isReplying(state)) return;
  if (state.response) connection?.send({ type: "response.cancel", response_id: state.response });
  connection?.send({ type: "output_audio_buffer.clear" });
}

/**
 * A typed message: shown at once, sent as soon as there is a call, and put back into the message box when there is none
 * or the server refuses it. Typing when no call is open starts one that needs no microphone.
 * @returns {boolean} whether it was taken
 */
function say(text) {
  if (waitingEntries(state).length >= MAX_WAITING) return false;
  if (!isRunning()) start({ typing: true });
  if (!isRunning()) return false; // it failed at once
  typed += 1;
  dispatch({ type: "client.said", id: `typed_${typed}`, text });
  if (state.phase === "connected") send(waitingEntries(state).slice(-1));
  return true;
}

function send(entries) {
  if (!entries.length) return;
  hush();
  for (const { id, text } of entries) {
    connection.send({ type: "conversation.item.create", event_id: id,
      item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] } });
  }
  connection.send({ type: "response.create" });
}

function giveBack(entries) {
  if (entries.length) view.giveBack(entries.map(({ text }) => text).join(" "));
}

/** Without a call there are no events: while something is fetched the page asks how far it has come. */
function askAgain() {
  clearTimeout(asking);
  asking = setTimeout(() => {
    if (!isRunning() && state.phase === "idle") showEngines();
  }, ASK_MS);
}

async function showEngines() {
  try {
    dispatch({ type: "engine.status", data: await fetchEngines() });
    solved();
    if (isFetching(state.engines) || state.news) askAgain();
  } catch (error) {
    const problem = explain(error);
    // A server that cannot list its engines may still talk; one that is locked or silent cannot.
    dispatch({ type: "client.engines_unknown" });
    if (!["key", "address", "unreachable"].includes(problem.kind)) solved();
    else if (!isRunning()) fail(problem);
  }
}

function solved() {
  if (isRunning()) return;
  dispatch({ type: "client.problem_solved" });
  view.forgetKey();
}

function enterKey(key) {
  if (!key) return;
  useKey(key);
  dispatch({ type: "client.checking" });
  showEngines();
}

window.visavis = Object.freeze({ get state() { return snapshotOf(state); } });
window.addEventListener("pagehide", () => isRunning() && stop());
window.addEventListener("hashchange", () => takeKeyFromAddress() && showEngines());

takeKeyFromAddress();
view.render(state);
showEngines();
