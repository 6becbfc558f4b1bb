// What was said, by whom, in the order of the conversation. Pure.

import { append as appendTimes, cut } from "../words/karaoke.js";

/** Turns kept on the page; older ones are forgotten so that a day-long call stays light. */
export const MAX_ENTRIES = 500;
/** Characters of one turn that are shown. */
export const MAX_TEXT = 20_000;
const MAX_WORDS = 4000;
/** Typed messages that wait to be sent; more stay in the message box. */
export const MAX_WAITING = 20;

const initial = { entries: [], nextKey: 1 };

const blank = {
  id: null, key: 0,
  role: "user", // user | assistant | tool | failure | note
  text: "", // what was said; of a response that was cut only what was heard
  stable: "", // the part of a partial transcript that will not change any more
  said: "", // of the assistant: all that it would have said
  unheard: "", // and what of that nobody heard
  words: [], // {text, start_ms, end_ms}, from `from` on
  estimated: false, // whether these times are guesses of the server
  from: null, to: null, // in ms on the page's clock
  response: null,
  cleared: false, // whether its sound was cut off
  final: false, interrupted: false, truncated: false, awaiting: false, failed: false, tentative: false,
  waiting: false, // typed, and not confirmed by the server yet
  typed: false,
  tool: null, // {name, call, arguments, output}
  note: "", // which note: new_conversation
  code: "", // of what has failed
};

/** Entries worth a bubble: with words, waiting for words, or cut off before the first word. */
export const visibleEntries = ({ entries }) =>
  entries.filter((entry) =>
    (entry.text && !entry.tentative) || entry.awaiting || entry.failed || entry.truncated || entry.tool || entry.note);

/** Typed messages that the server has not confirmed yet, in order. */
export const waitingEntries = ({ entries }) => entries.filter((entry) => entry.waiting);

/** The turns as `window.visavis.state` and the files tell them. */
export const transcriptOf = (words) =>
  visibleEntries(words).filter(({ role, text, truncated }) =>
    (role === "user" || role === "assistant") && (text || truncated));

// --- entries -------------------------------------------------------------------------------------------------------

const shortened = (text) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
const longer = (one, other) => (other.length > one.length ? other : one);

function append(words, entry) {
  const entries = [...words.entries, { ...blank, ...entry, key: words.nextKey }].slice(-MAX_ENTRIES);
  return { ...words, entries, nextKey: words.nextKey + 1 };
}

/** Change the entry of an item, making it first when it is new. `change` is an object, or a function of the entry. */
function update(words, id, role, change) {
  if (!id) return words;
  const known = words.entries.some((entry) => entry.id === id) ? words : append(words, { id, role });
  const entries = known.entries.map((entry) => {
    if (entry.id !== id) return entry;
    const next = { ...entry, ...(typeof change === "function" ? change(entry) : change) };
    return { ...next, text: shortened(next.text), stable: shortened(next.stable), said: shortened(next.said) };
  });
  return { ...known, entries };
}

const changeOf = (words, response, change) => ({
  ...words,
  entries: words.entries.map((entry) =>
    (response && entry.response === response ? { ...entry, ...change(entry) } : entry)),
});

const remove = (words, id) => ({ ...words, entries: words.entries.filter((entry) => entry.id !== id) });

/**
 * Change a user's entry by words that may still be revised. They can come before it is clear that somebody speaks to
 * the assistant at all; a new entry therefore stays out of sight until the turn begins.
 */
const hear = (words, id, change) =>
  update(words, id, "user", (entry) => entry.final ? {} : {
    ...change(entry), tentative: entry.tentative || !(entry.awaiting || entry.text),
  });

/** The words of an item, whatever kind of content carries them. */
const textOf = (item) =>
  (Array.isArray(item?.content) ? item.content : [])
    .map((part) => part?.text ?? part?.transcript ?? "")
    .filter(Boolean)
    .join(" ")
    .trim();

/** What belongs to a response, which may sound already. @param playing {response, since} of state.call, or null */
const ofResponse = (entry, response, playing) => ({
  response: response ?? entry.response,
  from: entry.from ?? (playing && playing.response === response ? playing.since : null),
});

function itemSeen(words, { item, at }) {
  if (item?.type === "function_call" || item?.type === "function_call_output") return toolSeen(words, item, at);
  if (item?.type !== "message" || (item.role !== "user" && item.role !== "assistant")) return words;
  const text = textOf(item);
  const typed = item.role === "user" && Boolean(text);
  return update(words, item.id, item.role, (entry) => {
    if (entry.truncated || !text) return { waiting: false };
    return { text, said: longer(entry.said, text), final: entry.final || typed, waiting: false,
      awaiting: entry.awaiting && !typed, typed: entry.typed || typed, from: entry.from ?? (typed ? at ?? null : null) };
  });
}

/** A function that the model calls, and what came of it: one entry for both, found by `call_id`. */
function toolSeen(words, { id, type, call_id: call, name, arguments: given, output }, at) {
  const known = words.entries.find((entry) => entry.tool && (entry.tool.call === call || entry.id === id));
  const key = known?.id ?? id ?? call;
  return update(words, key, "tool", ({ tool, from }) => {
    const result = type === "function_call_output" ? shortened(String(output ?? "")) : tool?.output ?? null;
    return {
      from: from ?? at ?? null, final: result !== null,
      tool: { name: name ?? tool?.name ?? "", call: call ?? tool?.call ?? null,
        arguments: shortened(given || tool?.arguments || ""), output: result },
    };
  });
}

/** Words of the assistant: `change` makes its text of what is there already. */
const says = (change) => (words, event, all) =>
  update(words, event.item_id, "assistant", (entry) => {
    const text = change(entry, event);
    if (entry.truncated || !text) return {};
    return { text, said: longer(entry.said, text), ...ofResponse(entry, event.response_id, all?.call.playing) };
  });
const delta = says((entry, event) => entry.text + (event.delta ?? ""));
const wholeText = says((_, event) => event.transcript ?? event.text);

const silent = (cleared) => (words, event, all) =>
  changeOf(words, event.response_id ?? all?.call.playing?.response, (entry) =>
    ({ to: entry.to ?? event.at ?? null, cleared }));

function responseDone(words, { response, at }) {
  const { id, status, output, status_details: details } = response ?? {};
  let next = words;
  for (const item of output ?? []) {
    if (item?.type === "message") next = itemSeen(next, { item: { ...item, role: "assistant" } });
  }
  const stopped = status === "cancelled";
  next = changeOf(next, id, (entry) => ({ final: true, interrupted: entry.interrupted || stopped }));
  if (status !== "failed") return next;
  const { message = "", code = "", stage = "" } = details?.error ?? {};
  return append(next, { role: "failure", text: shortened(message), code: String(code || stage), final: true,
    from: at ?? null });
}

/** The call is over: what was not sent is gone, and nothing changes any more. */
const hungUp = (words) => ({
  ...words,
  entries: words.entries
    .filter((entry) => !entry.waiting && ((entry.text && !entry.tentative) || entry.truncated || entry.tool || entry.note || entry.role === "failure"))
    .map((entry) => (entry.final && !entry.awaiting ? entry : { ...entry, final: true, awaiting: false })),
});

/** A conversation of which the server knows nothing begins below those that are over. */
function forgotten(words) {
  const last = words.entries.findLast((entry) => !entry.waiting);
  if (!last || last.role === "note") return words;
  const noted = append({ ...words, entries: words.entries.filter((entry) => !entry.waiting) },
    { role: "note", note: "new_conversation", final: true });
  return { ...noted, entries: [...noted.entries, ...waitingEntries(words)] };
}

// --- handlers ------------------------------------------------------------------------------------------------------

const handlers = {
  "input_audio_buffer.speech_started": (words, event) =>
    update(words, event.item_id, "user", ({ from }) =>
      ({ awaiting: true, tentative: false, from: from ?? event.at ?? null, to: null })),
  "input_audio_buffer.speech_stopped": (words, event) =>
    update(words, event.item_id, "user", { awaiting: false, to: event.at ?? null }),
  "input_audio_buffer.committed": (words, event) =>
    update(words, event.item_id, "user", (entry) => ({ awaiting: !entry.final, tentative: false })),
  "conversation.item.input_audio_transcription.delta": (words, event) =>
    hear(words, event.item_id, (entry) => {
      const stable = entry.stable + (event.delta ?? "");
      return { stable, text: longer(stable, entry.text) };
    }),
  "visavis.partial_transcript": (words, event) =>
    hear(words, event.item_id, () => ({ text: event.transcript ?? "" })),
  "conversation.item.input_audio_transcription.completed": (words, event) => {
    const text = (event.transcript ?? "").trim();
    if (!text) return remove(words, event.item_id);
    return update(words, event.item_id, "user", { text, stable: text, final: true, awaiting: false,
      tentative: false });
  },
  "conversation.item.input_audio_transcription.failed": (words, event) =>
    update(words, event.item_id, "user", { final: true, awaiting: false, failed: true,
      code: String(event.error?.code ?? "") }),

  "conversation.item.added": itemSeen,
  "conversation.item.done": itemSeen,
  "conversation.item.retrieved": itemSeen,
  "conversation.item.deleted": (words, event) => remove(words, event.item_id),
  "conversation.item.truncated": (words, event) =>
    update(words, event.item_id, "assistant", (entry) => {
      const { heard, unheard } = typeof event.transcript === "string" ? cut(entry.said, event.transcript)
        : { heard: entry.text, unheard: "" };
      return { text: heard, unheard, interrupted: true, final: true, truncated: true };
    }),

  "response.output_item.added": (words, event, all) => {
    if (event.item?.type === "message") {
      return update(words, event.item.id, "assistant", (entry) =>
        ofResponse(entry, event.response_id ?? null, all?.call.playing));
    }
    return event.item?.type === "function_call" ? toolSeen(words, event.item, event.at) : words;
  },
  "response.function_call_arguments.done": (words, event) =>
    toolSeen(words, { ...event, id: event.item_id, type: "function_call" }, event.at),
  "response.output_audio_transcript.delta": delta,
  "response.output_audio_transcript.done": wholeText,
  "response.output_text.delta": delta,
  "response.output_text.done": wholeText,
  "response.done": responseDone,
  "turn.words": (words, event, all) =>
    update(words, event.item_id, "assistant", (entry) => entry.truncated ? {} : {
      words: appendTimes(entry.words, event.words, MAX_WORDS), estimated: entry.estimated || event.estimated === true,
      ...ofResponse(entry, event.response_id, all?.call.playing),
    }),
  "output_audio_buffer.started": (words, event) =>
    changeOf(words, event.response_id, (entry) => ({ from: entry.from ?? event.at ?? null })),
  "output_audio_buffer.stopped": silent(false),
  "output_audio_buffer.cleared": silent(true),

  error: (words, event) => ({
    ...words, entries: words.entries.filter((entry) => !(entry.waiting && entry.id === event.error?.event_id)),
  }),
  "client.said": (words, event) => append(words, { id: event.id, text: event.text, waiting: true, typed: true }),
  "client.connecting": hungUp,
  "client.reconnecting": (words, event) => (event.attempt === 1 ? hungUp(words) : words),
  "client.answered": (words, event) => (event.resumed ? words : forgotten(words)),
  "client.stopped": hungUp,
  "client.failed": hungUp,
};

export const words = { initial, handlers };
