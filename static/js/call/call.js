// The user's hands → devices and connection → events. Nothing here touches the page.

import { explain, lostProblem } from "./refusals.js";
import { Connection } from "./connection.js";
import { openDevices } from "../devices/media.js";
import { openScreen } from "../devices/screen.js";
import { isReplying, isRunning } from "../state/call.js";

const STATS_MS = 1000;
const NO_TRACKS = { microphone: null, camera: null, screen: null };

/**
 * @param store see state/store.js @param output see devices/output.js @param levels see devices/levels.js
 * @param t the page's words
 */
export function createCall({ store, output, levels, t }) {
  const { dispatch } = store;
  let connection = null;
  let tracks = { ...NO_TRACKS };
  let attempt = 0; // an answer that belongs to an earlier attempt is thrown away
  let lastTyping = false;
  let timer = 0;

  /** @param typing without microphone and camera: the user types, the assistant speaks */
  async function start({ typing = false } = {}) {
    if (isRunning(store.state.call)) return;
    const mine = ++attempt;
    lastTyping = typing;
    dispatch({ type: "client.connecting", typing });
    try {
      const { stream, notice } = typing ? { stream: null, notice: null } : await openDevices();
      const [microphone = null] = stream?.getAudioTracks() ?? [];
      const [camera = null] = stream?.getVideoTracks() ?? [];
      if (mine !== attempt) return void [microphone, camera].forEach((track) => track?.stop());
      tracks = { ...NO_TRACKS, microphone, camera };
      dispatch({ type: "client.media", microphone: Boolean(microphone), camera: Boolean(camera) });
      if (notice) dispatch({ type: "client.notice", level: "info", text: notice });
      watchMicrophone();
      connection = new Connection(handlers);
      const answered = await connection.open(tracks);
      if (mine === attempt) dispatch({ type: "client.answered", session_id: answered.session_id, resumed: Boolean(answered.resumed) });
    } catch (error) {
      if (mine === attempt) fail(explain(error)); // else stopped or restarted meanwhile
    }
  }

  const handlers = {
    opened() {
      dispatch({ type: "client.connected" });
      timer = setInterval(pollStats, STATS_MS);
      const { language } = store.state.settings;
      if (language) tellLanguage(language);
    },
    event(event) {
      if (typeof event?.type !== "string" || event.type.startsWith("client.")) return; // not for the server to send
      dispatch(event);
    },
    track(track) {
      if (track.kind === "audio") levels.watch("voice", track);
      output.play(track);
    },
    lost: (reason) => fail(lostProblem(reason, store.state.call.farewell)),
  };

  function send(event) {
    if (connection?.send(event)) dispatch({ type: "client.sent", event });
  }

  const update = (session) => send({ type: "session.update", session: { type: "realtime", ...session } });

  /** @param language a code, or null: it is detected */
  function tellLanguage(language) {
    update({ audio: { input: { transcription: { language } } } });
  }

  function setLanguage(language) {
    dispatch({ type: "client.language", language });
    tellLanguage(language);
  }

  function watchMicrophone() {
    if (!tracks.microphone) return;
    levels.watch("microphone", tracks.microphone);
    tracks.microphone.addEventListener("ended", () =>
      dispatch({ type: "client.notice", level: "error", text: t("notice.microphone_gone") }));
  }

  function release() {
    attempt += 1;
    clearInterval(timer);
    connection?.close();
    connection = null;
    Object.values(tracks).forEach((track) => track?.stop());
    tracks = { ...NO_TRACKS };
    levels.close();
    output.silence();
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

  function setMicrophone(on) {
    if (tracks.microphone) tracks.microphone.enabled = on;
    dispatch({ type: "client.muted", muted: !on });
  }

  function setCamera(on) {
    if (tracks.camera) tracks.camera.enabled = on;
    dispatch({ type: "client.camera_off", off: !on });
  }

  async function share() {
    const current = connection;
    try {
      const screen = await openScreen();
      if (!screen) return;
      if (!current || current !== connection) {
        screen.stop();
        return;
      }
      screen.addEventListener("ended", unshare); // by the browser's own button
      tracks.screen = screen;
      tellShared(true); // first: a screen that stands still may send its picture only once
      await current.replace("screen", screen);
    } catch {
      unshare();
      dispatch({ type: "client.notice", level: "error", text: t("notice.screen_failed") });
    }
  }

  function unshare() {
    tracks.screen?.stop();
    tracks.screen = null;
    connection?.replace("screen", null);
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
    start, stop, fail, send, update, hush, share, unshare, setMicrophone, setCamera, setLanguage,
    retry: () => start({ typing: lastTyping }),
    reconnect: () => start({ typing: lastTyping }),
    tap: output.tap,
    stats: async () => (connection ? connection.peer.getStats() : null),
    get peer() { return connection?.peer ?? null; },
  };
}
