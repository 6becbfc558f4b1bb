// The conversation: one entry for each turn, changed while its words arrive.

/** Turns kept on the page; older ones are forgotten so that a day-long call stays light. */
export const MAX_ENTRIES = 400;
/** Characters of one turn that are shown. */
export const MAX_TEXT = 20_000;
/** Typed messages that wait to be sent; more stay in the message box. */
export const MAX_WAITING = 20;

const initial = { entries: [], nextKey: 1 };

const blank = { id: null, role: "user", text: "", stable: "", final: false, interrupted: false, truncated: false,
  awaiting: false, failed: false, tentative: false, waiting: false, response: null };

/** Entries worth a bubble: with words, waiting for words, or cut off before the first word. @param slice state.words */
export const visibleEntries = ({ entries }) =>
  entries.filter((entry) => (entry.text && !entry.tentative) || entry.awaiting || entry.failed || entry.truncated);

/** Typed messages that the server has not confirmed yet, in order. @param slice state.words */
export const waitingEntries = ({ entries }) => entries.filter((entry) => entry.waiting);

const shortened = (text) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);

function append(slice, entry) {
  const entries = [...slice.entries, { ...blank, ...entry, key: slice.nextKey }].slice(-MAX_ENTRIES);
  return { ...slice, entries, nextKey: slice.nextKey + 1 };
}

/** Change the entry of an item, making it first when it is new. `change` is an object, or a function of the entry. */
function update(slice, id, role, change) {
  if (!id) return slice;
  if (!slice.entries.some((entry) => entry.id === id)) slice = append(slice, { id, role });
  const entries = slice.entries.map((entry) => {
    if (entry.id !== id) return entry;
    const next = { ...entry, ...(typeof change === "function" ? change(entry) : change) };
    return { ...next, text: shortened(next.text), stable: shortened(next.stable) };
  });
  return { ...slice, entries };
}

/**
 * Change a user's entry by words that may still be revised. They can come before it is clear that somebody speaks to
 * the assistant at all; a new entry therefore stays out of sight until the turn begins.
 */
const hear = (slice, id, change) =>
  update(slice, id, "user", (entry) => entry.final ? {} : {
    ...change(entry), tentative: entry.tentative || !(entry.awaiting || entry.text),
  });

const updateResponse = (slice, response, change) => ({
  ...slice,
  entries: slice.entries.map((entry) => (entry.response === response ? { ...entry, ...change(entry) } : entry)),
});

const remove = (slice, id) => ({ ...slice, entries: slice.entries.filter((entry) => entry.id !== id) });

/** The words of an item, whatever kind of content carries them. */
const textOf = (item) =>
  (Array.isArray(item?.content) ? item.content : [])
    .map((part) => part?.text ?? part?.transcript ?? "")
    .filter(Boolean)
    .join(" ")
    .trim();

function itemSeen(slice, { item }) {
  if (item?.type !== "message" || (item.role !== "user" && item.role !== "assistant")) return slice;
  const text = textOf(item);
  const typed = item.role === "user" && Boolean(text);
  return update(slice, item.id, item.role, (entry) => {
    if (entry.truncated || !text) return { waiting: false };
    return { text, final: entry.final || typed, awaiting: entry.awaiting && !typed, waiting: false };
  });
}

const responseDelta = (slice, event) =>
  update(slice, event.item_id, "assistant", (entry) => entry.truncated ? {} : {
    text: entry.text + (event.delta ?? ""),
    response: event.response_id ?? entry.response,
  });

const responseText = (slice, event) =>
  update(slice, event.item_id, "assistant", (entry) => {
    const text = event.transcript ?? event.text;
    return entry.truncated || !text ? {} : { text, response: event.response_id ?? entry.response };
  });

function responseDone(slice, event) {
  const { id, status } = event.response ?? {};
  let next = slice;
  for (const item of event.response?.output ?? []) {
    if (item?.type === "message") next = itemSeen(next, { item: { ...item, role: "assistant" } });
  }
  return updateResponse(next, id, (entry) =>
    ({ final: true, interrupted: entry.interrupted || status === "cancelled" }));
}

/** What has words is final when its connection ends; what was typed and not sent goes back into the message box. */
const hungUp = (slice) => ({
  ...slice,
  entries: slice.entries
    .filter((entry) => !entry.waiting && ((entry.text && !entry.tentative) || entry.truncated))
    .map((entry) => ({ ...entry, final: true, awaiting: false })),
});

/** A conversation of which the server knows nothing begins below those that are over. */
function forgotten(slice) {
  const last = slice.entries.findLast((entry) => !entry.waiting);
  if (!last || last.role === "note") return slice;
  const noted = append({ ...slice, entries: slice.entries.filter((entry) => !entry.waiting) },
    { role: "note", note: "new_conversation", text: "New conversation. What came before is not remembered.", final: true });
  return { ...noted, entries: [...noted.entries, ...waitingEntries(slice)] };
}

const handlers = {
  "input_audio_buffer.speech_started": (slice, event) =>
    update(slice, event.item_id, "user", { awaiting: true, tentative: false }),
  "input_audio_buffer.speech_stopped": (slice, event) => update(slice, event.item_id, "user", { awaiting: false }),
  "input_audio_buffer.committed": (slice, event) =>
    update(slice, event.item_id, "user", (entry) => ({ awaiting: !entry.final, tentative: false })),
  "conversation.item.input_audio_transcription.delta": (slice, event) =>
    hear(slice, event.item_id, (entry) => {
      const stable = entry.stable + (event.delta ?? "");
      return { stable, text: entry.text.length > stable.length ? entry.text : stable };
    }),
  "visavis.partial_transcript": (slice, event) => hear(slice, event.item_id, () => ({ text: event.transcript ?? "" })),
  "conversation.item.input_audio_transcription.completed": (slice, event) => {
    const text = (event.transcript ?? "").trim();
    if (!text) return remove(slice, event.item_id);
    return update(slice, event.item_id, "user", { text, stable: text, final: true, awaiting: false, tentative: false });
  },
  "conversation.item.input_audio_transcription.failed": (slice, event) =>
    update(slice, event.item_id, "user", { final: true, awaiting: false, failed: true }),

  "conversation.item.added": itemSeen,
  "conversation.item.done": itemSeen,
  "conversation.item.retrieved": itemSeen,
  "conversation.item.deleted": (slice, event) => remove(slice, event.item_id),
  "conversation.item.truncated": (slice, event) =>
    update(slice, event.item_id, "assistant", (entry) => ({
      text: typeof event.transcript === "string" ? event.transcript.trim() : entry.text,
      interrupted: true, final: true, truncated: true,
    })),

  "response.output_item.added": (slice, event) =>
    event.item?.type === "message"
      ? update(slice, event.item.id, "assistant", { response: event.response_id ?? null })
      : slice,
  "response.output_audio_transcript.delta": responseDelta,
  "response.output_audio_transcript.done": responseText,
  "response.output_text.delta": responseDelta,
  "response.output_text.done": responseText,
  "response.done": responseDone,
  error: (slice, event) =>
    ({ ...slice, entries: slice.entries.filter((entry) => !(entry.waiting && entry.id === event.error?.event_id)) }),

  "client.said": (slice, event) => append(slice, { id: event.id, text: event.text, waiting: true }),
  "client.connecting": hungUp,
  "client.reconnecting": (slice, event) => (event.attempt === 1 ? hungUp(slice) : slice),
  "client.answered": (slice, event) => (event.resumed ? slice : forgotten(slice)),
  "client.stopped": hungUp,
  "client.failed": hungUp,
};

export const words = { initial, handlers };
