// The call and whose turn it is.

/** Errors that only tell of a race the user cannot see. */
export const HARMLESS = new Set(["response_cancel_not_active", "conversation_already_has_active_response",
  "input_audio_buffer_commit_empty"]);
const NO_STATS = { remoteEnergy: 0, framesPerSecond: null, roundTripMs: null };

const initial = {
  phase: "idle", // idle | asking | connecting | connected | reconnecting | waiting | lost
  attempt: 0, // of reconnecting; 0 while nothing was lost
  faltering: false, // nothing arrives just now
  session_id: null,
  typing: false, // begun without a microphone
  hearing: false,
  thinking: false,
  response: null, // id of the response being made
  playing: null, // {response, since}: the response being heard, and since when (ms)
  turns: null, // how the server tells that a turn is over, as it was set when the first session of the call began
  steps: [], // {name, ms}: microphone, server, path, engines, as a connection is made; ms is null until it is done
  stepSince: 0, // when the step that is not done began, in ms
  farewell: "", // why the server has ended the session, in its words
  stats: NO_STATS,
};

/** What is over when a connection is. The energy heard stays, to be read after it. */
const quiet = (slice) => ({
  ...slice, hearing: false, thinking: false, response: null, playing: null, faltering: false,
  stats: { ...NO_STATS, remoteEnergy: slice.stats.remoteEnergy },
});
const hungUp = (slice) => ({ ...quiet(slice), phase: "idle", typing: false, session_id: null, attempt: 0, farewell: "" });

// What a connection is made of, and how long each part took.
const ON_THE_WAY = ["server", "path", "engines"];
const stepsFrom = (names, at) => ({ steps: names.map((name) => ({ name, ms: null })), stepSince: at ?? 0 });

function did(slice, name, at = 0) {
  const step = slice.steps.find((one) => one.ms === null);
  if (step?.name !== name) return slice;
  const steps = slice.steps.map((one) => (one === step ? { name, ms: at - slice.stepSince } : one));
  return { ...slice, steps, stepSince: at };
}

function calling(slice, { at }) {
  const next = did(slice, "microphone", at);
  const again = next === slice && next.steps[0]?.ms !== null; // another try, with the devices of before
  return { ...next, ...(again ? stepsFrom(ON_THE_WAY, at) : {}), phase: slice.phase === "reconnecting" ? slice.phase : "connecting" };
}

const playoutEnds = (slice, event) =>
  slice.playing && event.response_id && slice.playing.response !== event.response_id
    ? slice
    : { ...slice, playing: null };

const handlers = {
  "input_audio_buffer.speech_started": (slice) => ({ ...slice, hearing: true, thinking: false }),
  "input_audio_buffer.speech_stopped": (slice) => ({ ...slice, hearing: false }),
  "input_audio_buffer.committed": (slice) => ({ ...slice, hearing: false, thinking: true }),
  "input_audio_buffer.cleared": (slice) => ({ ...slice, hearing: false }),
  "conversation.item.input_audio_transcription.completed": (slice, event) =>
    (event.transcript ?? "").trim() ? slice : { ...slice, thinking: Boolean(slice.response) },
  "conversation.item.input_audio_transcription.failed": (slice) => ({ ...slice, thinking: Boolean(slice.response) }),
  "response.created": (slice, event) => ({ ...slice, response: event.response?.id ?? null, thinking: true }),
  "response.done": (slice, event) =>
    slice.response === event.response?.id || !event.response?.id
      ? { ...slice, response: null, thinking: false }
      : slice,
  "output_audio_buffer.started": (slice, event) =>
    ({ ...slice, playing: { response: event.response_id ?? null, since: event.at ?? 0 }, thinking: false }),
  "output_audio_buffer.stopped": playoutEnds,
  "output_audio_buffer.cleared": playoutEnds,
  "visavis.reply_held": (slice, event) =>
    event.outcome === "dropped" ? { ...slice, thinking: Boolean(slice.response) } : slice,
  error: (slice, event) => {
    if (event.error?.code === "session_ended") return { ...slice, farewell: event.error.message ?? "" };
    return HARMLESS.has(event.error?.code) ? slice : { ...slice, thinking: Boolean(slice.response) };
  },

  "session.created": (slice, event) =>
    ({ ...did(slice, "engines", event.at), turns: slice.turns ?? event.session?.audio?.input?.turn_detection ?? null }),
  "client.connecting": (slice, event) => ({
    ...hungUp(slice), phase: event.asking ? "asking" : "connecting", typing: event.typing, stats: NO_STATS,
    turns: event.again ? slice.turns : null,
    ...stepsFrom(event.asking ? ["microphone", ...ON_THE_WAY] : ON_THE_WAY, event.at),
  }),
  "client.calling": calling,
  "client.waiting": (slice) => ({ ...quiet(slice), phase: "waiting" }),
  "client.reconnecting": (slice, event) => ({ ...quiet(slice), phase: "reconnecting", attempt: event.attempt }),
  "client.faltering": (slice, event) => ({ ...slice, faltering: event.faltering }),
  "client.answered": (slice, event) => ({ ...did(slice, "server", event.at), session_id: event.session_id }),
  "client.connected": (slice, event) => ({ ...did(slice, "path", event.at), phase: "connected", attempt: 0, faltering: false, farewell: "" }),
  "client.stopped": hungUp,
  "client.failed": (slice, event) => ({ ...hungUp(slice), phase: event.problem.lost ? "lost" : "idle" }),
  "client.stats": (slice, event) => ({ ...slice, stats: event.stats }),
};

export const call = { initial, handlers };

/** Whether there is a call, or one is being made. @param slice state.call */
export const isRunning = ({ phase }) => phase !== "idle" && phase !== "lost";

/** The assistant is making or playing a response that can be stopped. @param slice state.call */
export const isReplying = ({ phase, response, playing }) => phase === "connected" && Boolean(response || playing);

/**
 * One word for what is going on: idle, asking, connecting, reconnecting, waiting, lost, hearing, speaking, thinking,
 * muted, ready (for typing or the talk button) or listening.
 */
export function statusOf({ call: slice, devices }) {
  if (slice.phase !== "connected") return slice.phase;
  if (slice.faltering) return "reconnecting";
  if (slice.hearing || devices.talking) return "hearing";
  if (slice.playing) return "speaking";
  if (slice.thinking) return "thinking";
  if (devices.muted) return "muted";
  return devices.microphone && !devices.chosen.pushToTalk ? "listening" : "ready";
}
