// What happened in, what the page shows out. Pure: no DOM, no network, no clock.
//
// Server events are OpenAI Realtime GA events plus visavis' own (`vision.changed`, `turn.latency`, `engine.status`,
// `visavis.partial_transcript`). What the page itself does arrives as `client.*` events, so that one function
// explains everything on the screen. Unknown events change nothing.

import { takenOver } from "./fetching.js";

/** Turns kept on the page; older ones are forgotten so that a day-long call stays light. */
export const MAX_ENTRIES = 400;
/** Characters of one turn that are shown, and of one notice. */
export const MAX_TEXT = 20_000;
const MAX_NOTICE_TEXT = 400;
/** Typed messages that wait to be sent; more stay in the message box. */
export const MAX_WAITING = 20;
const MAX_OBJECTS = 100;
const MAX_NOTICES = 3;
const MAX_CHIPS = 4;
/** How long something that happened in an instant is shown. */
const CHIP_MS = 3500;
const NEWS_MS = 8000;
/** Errors that only tell of a race the user cannot see. */
const HARMLESS = new Set(["response_cancel_not_active", "conversation_already_has_active_response"]);

export function initialState() {
  return {
    phase: "idle", // idle | connecting | connected | lost
    typing: false, // a session without a microphone
    microphone: false,
    muted: false,
    camera: false,
    cameraOff: false,
    sharing: false, // the screen
    hearing: false,
    thinking: false,
    response: null, // id of the response being made
    playing: null, // {response, since}: the response being heard, and since when (ms)
    entries: [],
    nextKey: 1,
    scene: "",
    objects: [],
    chips: [], // {key, text, until}: what the camera has just shown; until null while it lasts, else ms
    vision: null, // session.vision as the server tells it
    latency: null, // the last turn.latency
    latencies: {}, // voice-to-voice and parts, by response id
    engines: null, // rows, or null while not known
    language: null, // code of what the user has chosen to speak
    enginesAsked: false,
    news: null, // {text, until}: the engine that has just taken over, and how long to say so (ms)
    notices: [],
    farewell: "", // why the server has ended the session, in its words
    problem: null,
    stats: { remoteEnergy: 0, framesPerSecond: null, roundTripMs: null },
  };
}

/** @returns the next state; `state` itself when the event means nothing to the page. */
export function reduce(state, event) {
  const handle = Object.hasOwn(handlers, event?.type) ? handlers[event.type] : null;
  return handle ? handle(state, event) : state;
}

/** One word for what is going on: idle, connecting, lost, hearing, speaking, thinking, muted, ready or listening. */
export function statusOf(state) {
  if (state.phase !== "connected") return state.phase;
  if (state.hearing) return "hearing";
  if (state.playing) return "speaking";
  if (state.thinking) return "thinking";
  if (state.typing) return "ready";
  return state.muted ? "muted" : "listening";
}

/** The assistant is making or playing a reply that can be stopped. */
export const isReplying = (state) => state.phase === "connected" && Boolean(state.response || state.playing);

/** Entries worth a bubble: with words, waiting for words, or cut off before the first word. */
export const visibleEntries = (state) =>
  state.entries.filter((entry) =>
    (entry.text && !entry.tentative) || entry.awaiting || entry.failed || entry.truncated);

/** Typed messages that the server has not confirmed yet, in order. */
export const waitingEntries = (state) => state.entries.filter((entry) => entry.waiting);

/** What tests and the curious read from `window.visavis.state`. */
export function snapshotOf(state) {
  return {
    phase: state.phase,
    status: statusOf(state),
    transcript: visibleEntries(state)
      .filter((entry) => entry.role !== "note" && (entry.text || entry.truncated))
      .map(({ role, text, final, interrupted }) => ({ role, text, final, interrupted })),
    scene: state.scene,
    latency: state.latency,
    remoteEnergy: state.stats.remoteEnergy,
    engines: state.engines,
    language: state.language,
    problem: state.problem?.kind ?? null,
    notices: state.notices.map((notice) => notice.text),
    chips: state.chips.map((chip) => chip.text),
    vision: state.vision,
    sharing: state.sharing,
  };
}

// --- entries -------------------------------------------------------------------------------------------------------

const blank = { id: null, role: "user", text: "", stable: "", final: false, interrupted: false, truncated: false,
  awaiting: false, failed: false, tentative: false, waiting: false, response: null };

const shortened = (text) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);

function append(state, entry) {
  const entries = [...state.entries, { ...blank, ...entry, key: state.nextKey }].slice(-MAX_ENTRIES);
  return { ...state, entries, nextKey: state.nextKey + 1 };
}

/** Change the entry of an item, making it first when it is new. `change` is an object, or a function of the entry. */
function update(state, id, role, change) {
  if (!id) return state;
  if (!state.entries.some((entry) => entry.id === id)) state = append(state, { id, role });
  const entries = state.entries.map((entry) => {
    if (entry.id !== id) return entry;
    const next = { ...entry, ...(typeof change === "function" ? change(entry) : change) };
    return { ...next, text: shortened(next.text), stable: shortened(next.stable) };
  });
  return { ...state, entries };
}

/**
 * Change a user's entry by words that may still be revised. They can come before it is clear that somebody speaks to
 * the assistant at all; a new entry therefore stays out of sight until the turn begins.
 */
const hear = (state, id, change) =>
  update(state, id, "user", (entry) => entry.final ? {} : {
    ...change(entry), tentative: entry.tentative || !(entry.awaiting || entry.text),
  });

const updateResponse = (state, response, change) => ({
  ...state,
  entries: state.entries.map((entry) => (entry.response === response ? { ...entry, ...change(entry) } : entry)),
});

const remove = (state, id) => ({ ...state, entries: state.entries.filter((entry) => entry.id !== id) });

/** The words of an item, whatever kind of content carries them. */
const textOf = (item) =>
  (Array.isArray(item?.content) ? item.content : [])
    .map((part) => part?.text ?? part?.transcript ?? "")
    .filter(Boolean)
    .join(" ")
    .trim();

function itemSeen(state, { item }) {
  if (item?.type !== "message" || (item.role !== "user" && item.role !== "assistant")) return state;
  const text = textOf(item);
  const typed = item.role === "user" && Boolean(text);
  return update(state, item.id, item.role, (entry) => {
    if (entry.truncated || !text) return { waiting: false };
    return { text, final: entry.final || typed, awaiting: entry.awaiting && !typed, waiting: false };
  });
}

const replyDelta = (state, event) =>
  update(state, event.item_id, "assistant", (entry) => entry.truncated ? {} : {
    text: entry.text + (event.delta ?? ""),
    response: event.response_id ?? entry.response,
  });

const replyText = (state, event) =>
  update(state, event.item_id, "assistant", (entry) => {
    const text = event.transcript ?? event.text;
    return entry.truncated || !text ? {} : { text, response: event.response_id ?? entry.response };
  });

const playoutEnds = (state, event) =>
  state.playing && event.response_id && state.playing.response !== event.response_id
    ? state
    : { ...state, playing: null };

function notify(state, words, level = "info") {
  const text = words.length > MAX_NOTICE_TEXT ? `${words.slice(0, MAX_NOTICE_TEXT)}…` : words;
  return {
    ...state,
    notices: [...state.notices.filter((notice) => notice.text !== text), { text, level }].slice(-MAX_NOTICES),
  };
}

/** A chip stays until it is taken away, or `milliseconds` long. */
function chip(state, event, key, text, milliseconds = null) {
  const until = milliseconds === null ? null : (event.at ?? 0) + milliseconds;
  return { ...state, chips: [...unchip(state, key).chips, { key, text, until }].slice(-MAX_CHIPS) };
}

const unchip = (state, key) => ({ ...state, chips: state.chips.filter((other) => other.key !== key) });

/** Chips to be seen at a time. @param now the clock that stamped the events, in ms */
export const visibleChips = (state, now) => state.chips.filter(({ until }) => until === null || until > now);

/** The engine that has just taken over, as long as that is news. @param now the clock that stamped the events, in ms */
export const newsOf = (state, now) => (state.news && state.news.until > now ? state.news.text : "");

const gestureKey = ({ hand, gesture }) => `gesture ${hand ?? ""} ${gesture}`;

function settled(state, { session }) {
  if (!session?.vision) return state;
  return { ...state, vision: session.vision, chips: session.vision.enabled ? state.chips : [] };
}

const hangUp = (state) => ({
  ...state, chips: [], vision: null, farewell: "", phase: "idle", hearing: false, thinking: false, response: null, playing: null, scene: "", objects: [],
  muted: false, cameraOff: false, microphone: false, camera: false, typing: false, sharing: false,
  stats: { remoteEnergy: state.stats.remoteEnergy, framesPerSecond: null, roundTripMs: null },
  entries: state.entries
    .filter((entry) => !entry.waiting && ((entry.text && !entry.tentative) || entry.truncated))
    .map((entry) => ({ ...entry, final: true, awaiting: false })),
});

// --- handlers ------------------------------------------------------------------------------------------------------

const handlers = {
  // the user's voice
  "input_audio_buffer.speech_started": (state, event) =>
    ({ ...update(state, event.item_id, "user", { awaiting: true, tentative: false }), hearing: true,
      thinking: false }),
  "input_audio_buffer.speech_stopped": (state, event) =>
    ({ ...update(state, event.item_id, "user", { awaiting: false }), hearing: false }),
  "input_audio_buffer.committed": (state, event) =>
    ({ ...update(state, event.item_id, "user", (entry) => ({ awaiting: !entry.final, tentative: false })),
      hearing: false, thinking: true }),
  "input_audio_buffer.cleared": (state) => ({ ...state, hearing: false }),
  "conversation.item.input_audio_transcription.delta": (state, event) =>
    hear(state, event.item_id, (entry) => {
      const stable = entry.stable + (event.delta ?? "");
      return { stable, text: entry.text.length > stable.length ? entry.text : stable };
    }),
  "visavis.partial_transcript": (state, event) =>
    hear(state, event.item_id, () => ({ text: event.transcript ?? "" })),
  "conversation.item.input_audio_transcription.completed": (state, event) => {
    const text = (event.transcript ?? "").trim();
    if (!text) return { ...remove(state, event.item_id), thinking: Boolean(state.response) };
    return update(state, event.item_id, "user", { text, stable: text, final: true, awaiting: false,
      tentative: false });
  },
  "conversation.item.input_audio_transcription.failed": (state, event) =>
    ({ ...update(state, event.item_id, "user", { final: true, awaiting: false, failed: true }),
      thinking: Boolean(state.response) }),

  // the conversation
  "conversation.item.added": itemSeen,
  "conversation.item.done": itemSeen,
  "conversation.item.retrieved": itemSeen,
  "conversation.item.deleted": (state, event) => remove(state, event.item_id),
  "conversation.item.truncated": (state, event) =>
    update(state, event.item_id, "assistant", (entry) => ({
      text: typeof event.transcript === "string" ? event.transcript.trim() : entry.text,
      interrupted: true, final: true, truncated: true,
    })),

  // the assistant's reply
  "response.created": (state, event) => ({ ...state, response: event.response?.id ?? null, thinking: true }),
  "response.output_item.added": (state, event) =>
    event.item?.type === "message"
      ? update(state, event.item.id, "assistant", { response: event.response_id ?? null })
      : state,
  "response.output_audio_transcript.delta": replyDelta,
  "response.output_audio_transcript.done": replyText,
  "response.output_text.delta": replyDelta,
  "response.output_text.done": replyText,
  "response.done": (state, event) => {
    const { id, status, status_details: details } = event.response ?? {};
    const cut = status === "cancelled";
    let next = state.response === id || !id ? { ...state, response: null, thinking: false } : state;
    for (const item of event.response?.output ?? []) {
      if (item?.type === "message") next = itemSeen(next, { item: { ...item, role: "assistant" } });
    }
    next = updateResponse(next, id, (entry) => ({ final: true, interrupted: entry.interrupted || cut }));
    if (status !== "failed") return next;
    return notify(next, details?.error?.message ?? "The assistant could not answer.", "error");
  },
  "output_audio_buffer.started": (state, event) =>
    ({ ...state, playing: { response: event.response_id ?? null, since: event.at ?? 0 }, thinking: false }),
  "output_audio_buffer.stopped": playoutEnds,
  "output_audio_buffer.cleared": playoutEnds,

  // what visavis adds
  "session.created": settled,
  "session.updated": settled,
  "vision.gesture.started": (state, event) =>
    chip(state, event, gestureKey(event), `${event.hand ? `${event.hand} hand: ` : ""}${event.gesture ?? ""}`),
  "vision.gesture.ended": (state, event) => unchip(state, gestureKey(event)),
  "vision.person.appeared": (state, event) => chip(state, event, `person ${event.id}`, "somebody came", CHIP_MS),
  "vision.person.left": (state, event) => chip(state, event, `person ${event.id}`, "somebody left", CHIP_MS),
  "vision.attention.changed": (state, event) =>
    event.attention === "away" ? chip(state, event, "attention", "looking away") : unchip(state, "attention"),
  "vision.lag": (state, event) =>
    event.state === "behind" ? chip(state, event, "lag", "drawing lags behind") : unchip(state, "lag"),
  "vision.camera": (state, event) =>
    event.state === "stopped" ? chip(state, event, "camera", "no picture arrives") : unchip(state, "camera"),
  "visavis.reply_held": (state, event) => {
    if (event.outcome === "waiting") return chip(state, event, "held", "waiting until you look");
    return event.outcome === "dropped"
      ? chip({ ...state, thinking: Boolean(state.response) }, event, "held", "not answered: you looked away", CHIP_MS)
      : unchip(state, "held");
  },
  "vision.changed": (state, event) => ({ ...state, scene: event.scene ?? "", objects: (event.objects ?? []).slice(0, MAX_OBJECTS) }),
  "turn.latency": (state, event) => {
    const latency = { response_id: event.response_id, voice_to_voice_ms: event.voice_to_voice_ms,
      parts: event.parts ?? {} };
    const { [event.response_id]: _, ...others } = state.latencies;
    const newest = Object.entries(others).slice(1 - MAX_ENTRIES);
    return { ...state, latency, latencies: { ...Object.fromEntries(newest), [event.response_id]: latency } };
  },
  "engine.status": (state, event) => {
    if (!Array.isArray(event.data)) return state;
    const text = takenOver(state.engines, event.data);
    const news = text ? { text, until: (event.at ?? 0) + NEWS_MS } : state.news;
    return { ...state, engines: event.data, news };
  },
  "client.language": (state, event) => ({ ...state, language: event.language }),
  "client.engines_unknown": (state) => ({ ...state, enginesAsked: true }),
  error: (state, event) => {
    if (HARMLESS.has(event.error?.code)) return state;
    if (event.error?.code === "session_ended") return { ...state, farewell: event.error.message ?? "" };
    const next = { ...state, thinking: Boolean(state.response),
      entries: state.entries.filter((entry) => !(entry.waiting && entry.id === event.error?.event_id)) };
    return notify(next, event.error?.message ?? "The server reports an error.", "error");
  },

  // the page itself
  "client.connecting": (state, event) => {
    const next = { ...hangUp(state), phase: "connecting", typing: event.typing, problem: null, notices: [],
      latency: null, stats: initialState().stats };
    const before = next.entries.at(-1)?.role ?? "note";
    return before === "note" ? next
      : append(next, { role: "note", text: "New conversation. What came before is not remembered.", final: true });
  },
  "client.media": (state, event) => {
    const next = { ...state, microphone: event.microphone, camera: event.camera };
    return event.notice ? notify(next, event.notice, "info") : next;
  },
  "client.said": (state, event) => append(state, { id: event.id, text: event.text, waiting: true }),
  "client.connected": (state) => ({ ...state, phase: "connected" }),
  "client.stopped": hangUp,
  "client.failed": (state, event) =>
    ({ ...hangUp(state), phase: event.problem.lost ? "lost" : "idle", problem: event.problem }),
  "client.checking": (state) => ({ ...state, problem: state.problem && { ...state.problem, checking: true } }),
  "client.problem_solved": (state) => ({ ...state, problem: null }),
  "client.muted": (state, event) => ({ ...state, muted: event.muted }),
  "client.camera_off": (state, event) => ({ ...state, cameraOff: event.off }),
  "client.sharing": (state, event) => ({ ...state, sharing: event.sharing }),
  "client.notice": (state, event) => notify(state, event.text, event.level),
  "client.dismissed": (state, event) =>
    ({ ...state, notices: state.notices.filter((notice) => notice.text !== event.text) }),
  "client.stats": (state, event) => ({ ...state, stats: event.stats }),
};
