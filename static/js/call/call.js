// The call: from the user's wish to a connection, through losses and waiting, to its end. Nothing here touches the page.

import { facts } from "./api.js";
import { Connection } from "./connection.js";
import { createPushToTalk } from "./push_to_talk.js";
import { explain, isMeant, isWorthWaiting, lostProblem, unsupported } from "./refusals.js";
import { Pause, TRIES, pauseBefore, secondsToWait } from "./resume.js";
import { createTracks } from "./tracks.js";
import { keepChoice, readChoice } from "../devices/choice.js";
import { turnDetection } from "../settings/session.js";
import { isReplying, isRunning } from "../state/call.js";

const STATS_MS = 1000;

/**
 * @param store see state/store.js @param output see devices/output.js @param levels see devices/levels.js
 * @param tell (code, values) makes a notice
 */
export function createCall({ store, output, levels, tell }) {
  const { dispatch } = store;
  const pause = new Pause();
  let connection = null;
  let attempt = 0; // an answer that belongs to an earlier attempt is thrown away
  let resume = null; // id of the session with whose conversation the next one begins
  let unknown = null; // a pipeline that was chosen, perhaps by a link, and that the server has not
  let byHand = false; // what the conversation was told last: the user's hand ends turns
  let lastTyping = false;
  let talked = false; // there was a connection: its conversation is worth another one
  let timer = 0;
  let unwatch = () => {};

  const tracks = createTracks({ store, levels, tell, replace: (kind, track) => connection?.replace(kind, track) });
  const talk = createPushToTalk({ send, hush, tell, listen(on) {
    tracks.listen(on);
    dispatch({ type: "client.talking", talking: on });
  } });
  dispatch({ type: "client.device_chosen", chosen: readChoice() });
  output.setVolume(store.state.devices.chosen.volume);
  store.subscribe((_, events) => events.some(({ type }) => type === "client.devices_listed") && useSpeaker());

  // --------------------------------------------------------------------------------------------- beginning

  /**
   * @param typing without microphone and camera: the user types, the assistant speaks
   * @param again with the conversation of before, if the server still knows it
   */
  async function start({ typing = false, again = false } = {}) {
    if (isRunning(store.state.call)) return;
    const never = unsupported({ secure: isSecureContext, webrtc: Boolean(window.RTCPeerConnection) });
    if (never && !(typing && never.typing)) return void dispatch({ type: "client.failed", problem: never });
    const mine = ++attempt;
    lastTyping = typing;
    [resume, talked] = [again ? resume : null, false];
    byHand &&= resume !== null;
    output.prime();
    dispatch({ type: "client.connecting", typing, asking: !typing, again: resume !== null });
    try {
      if (!(await tracks.open({ typing }))) return;
    } catch (error) {
      if (mine === attempt) fail(explain(error, facts()));
      return;
    }
    useSpeaker();
    if (mine === attempt) connect();
  }

  async function connect() {
    const mine = ++attempt;
    dispatch({ type: "client.calling" });
    connection = new Connection(handlers);
    const again = resume !== null;
    try {
      const { session_id, resumed, watched } = await connection.open(tracks.all, wishes());
      if (mine !== attempt) return;
      if (watched) watchFor(session_id);
      resume = session_id ?? resume;
      dispatch({ type: "client.answered", session_id, resumed: Boolean(resumed), again });
    } catch (error) {
      if (mine !== attempt) return; // stopped or restarted meanwhile
      const { pipeline } = wishes();
      if (error.code === "unknown_pipeline" && pipeline) withoutPipeline(pipeline);
      else refused(explain(error, facts()));
    }
  }

  function wishes() {
    const { pipeline } = store.state.settings;
    return { ...(resume ? { resume } : {}), ...(pipeline && pipeline !== unknown ? { pipeline } : {}) };
  }

  /** Who has it chosen need not know how to choose another one before anything can be said. */
  function withoutPipeline(name) {
    unknown = name;
    tell("pipeline_unknown", { name });
    drop();
    connect();
  }

  const handlers = {
    opened() {
      talked = true;
      dispatch({ type: "client.connected" });
      levels.connect(connection);
      clearInterval(timer);
      timer = setInterval(pollStats, STATS_MS);
      const { devices, recording: { wanted, video } } = store.state;
      if (devices.sharing) update({ vision: { screen: true } });
      if (wanted) update({ recording: { enabled: true, video } }); // a session does not know of those before it
      if (devices.chosen.pushToTalk || byHand) tellTurns();
    },
    event(event) {
      if (typeof event?.type !== "string" || event.type.startsWith("client.")) return; // not for the server to send
      dispatch(event);
      talk.told(event);
    },
    track: (track) => output.play(track),
    faltering: (faltering) => dispatch({ type: "client.faltering", faltering }),
    lost,
  };

  // --------------------------------------------------------------------------------------------- ways it goes wrong

  /** A call could not be made. */
  function refused(problem) {
    if (isWorthWaiting(problem)) {
      drop();
      const until = pause.begin(secondsToWait(problem.wait) * 1000, connect);
      dispatch({ type: "client.waiting", problem, until });
    } else if (talked && (problem.lost || problem.passing)) tryAgain();
    else fail(problem);
  }

  /** A connection is gone. */
  function lost(reason, candidates = []) {
    const { farewell } = store.state.call;
    if (talked && !isMeant(farewell)) tryAgain();
    else fail(lostProblem(reason, farewell, candidates));
  }

  /** What answers for several processes of the server knows sooner than the connection that one of them has ended. */
  async function watchFor(session) {
    const mine = attempt;
    const { watch } = await import("./watch.js");
    if (mine !== attempt) return;
    unwatch = watch(session, () => mine === attempt && talked && !isMeant(store.state.call.farewell) && tryAgain(0));
  }

  /**
   * The conversation goes on in a new connection: there is no restart of an old one.
   * @param soon pause in ms, where it is known that there is somebody to go on with
   */
  function tryAgain(soon = null) {
    const { farewell, attempt: tried } = store.state.call;
    if (tried >= TRIES) return void fail(lostProblem("gone", farewell));
    drop();
    talk.cancel();
    const until = pause.begin(soon ?? pauseBefore(tried), connect);
    dispatch({ type: "client.reconnecting", attempt: tried + 1, tries: TRIES, until });
  }

  /** Let go of the connection; the devices stay. */
  function drop() {
    attempt += 1;
    unwatch();
    clearInterval(timer);
    connection?.close();
    connection = null;
    output.silence();
  }

  function release() {
    pause.cancel();
    talk.cancel();
    drop();
    tracks.release();
    levels.close();
  }

  function stop() {
    release();
    dispatch({ type: "client.stopped" });
  }

  function fail(problem) {
    release();
    dispatch({ type: "client.failed", problem });
  }

  // --------------------------------------------------------------------------------------------- while it lasts

  /** @returns whether it was sent */
  function send(event) {
    const sent = Boolean(connection?.send(event));
    if (sent) dispatch({ type: "client.sent", event });
    return sent;
  }

  const update = (session) => send({ type: "session.update", session: { type: "realtime", ...session } });

  async function pollStats() {
    const stats = await connection?.stats().catch(() => null);
    if (stats && connection) dispatch({ type: "client.stats", stats });
  }

  function choose(chosen) {
    dispatch({ type: "client.device_chosen", chosen });
    keepChoice(chosen);
  }

  /** @param kind microphone | camera | speaker @param id "" for the browser's own choice */
  async function setDevice(kind, id) {
    const found = store.state.devices.listed[kind].find((one) => one.id === id);
    choose({ [kind]: id ? { id, label: found?.label ?? "" } : null });
    if (kind === "speaker") await output.setSpeaker(id, () => choose({ speaker: null }));
    else await tracks.swap(kind);
  }

  /** The chosen loudspeaker, as far as it is there: one that is missing may be plugged in later. */
  function useSpeaker() {
    const { speaker } = store.state.devices.chosen;
    if (speaker) output.setSpeaker(speaker.id);
  }

  function setVolume(volume) {
    choose({ volume });
    output.setVolume(store.state.devices.chosen.volume);
  }

  /** The server decides when a turn is over, or the user's hand does. */
  function tellTurns() {
    const { devices: { chosen: { pushToTalk } }, call: { turns }, settings } = store.state;
    const told = pushToTalk ? null : turnDetection(settings, turns ?? { type: "server_vad" });
    if (update({ audio: { input: { turn_detection: told } } })) byHand = pushToTalk;
  }

  function setPushToTalk(on) {
    talk.cancel();
    choose({ pushToTalk: on });
    tracks.listen(!on);
    tellTurns();
  }

  async function setCamera(on) {
    if (!isRunning(store.state.call)) choose({ withCamera: on }); // for the next start
    else await tracks.setCamera(on);
  }

  async function share() {
    try {
      if (!(await tracks.share(unshare))) return;
      tellShared(true); // first: a screen that stands still may send its picture only once
      await connection?.replace("screen", tracks.all.screen);
      if (store.state.engines.status?.takes_pictures === false) tell("screen_unseen");
    } catch {
      unshare();
      tell("screen_failed");
    }
  }

  function unshare() {
    tracks.unshare();
    tellShared(false);
  }

  /** The server cannot tell a screen that stands still from one that is not shared any more. */
  function tellShared(sharing) {
    update({ vision: { screen: sharing } });
    dispatch({ type: "client.sharing", sharing });
  }

  /** Stop the response being made and the one being heard. */
  function hush() {
    const { call } = store.state;
    if (!isReplying(call)) return;
    if (call.response) send({ type: "response.cancel", response_id: call.response });
    send({ type: "output_audio_buffer.clear" });
  }

  return {
    start, stop, fail, send, update, hush, share, unshare, setCamera, setDevice, setVolume, setPushToTalk, talk,
    setMicrophone: (on) => tracks.setMicrophone(on),
    retry: () => start({ typing: lastTyping, again: true }),
    /** Do not wait any longer: try now. */
    reconnect: () => (["reconnecting", "waiting"].includes(store.state.call.phase) ? pause.end() : start({ typing: lastTyping, again: true })),
    /** The server asks to go on in a new connection: it ends this one soon. */
    move: () => store.state.call.phase === "connected" && tryAgain(),
    tap: output.tap,
    stats: async () => (connection ? connection.peer.getStats() : null),
    get peer() { return connection?.peer ?? null; },
    get voice() { return connection?.voice ?? null; },
  };
}
