// How long each response took, and where the time went.

import { MAX_ENTRIES } from "./words.js";

const initial = {
  last: null, // the newest turn.latency
  byResponse: {}, // all of them, by response id
};

const handlers = {
  "turn.latency": (slice, event) => {
    const last = { response_id: event.response_id, voice_to_voice_ms: event.voice_to_voice_ms,
      parts: event.parts ?? {}, saved_ms: event.saved_ms ?? null };
    const { [event.response_id]: _, ...others } = slice.byResponse;
    const newest = Object.entries(others).slice(1 - MAX_ENTRIES);
    return { last, byResponse: { ...Object.fromEntries(newest), [event.response_id]: last } };
  },
  "client.connecting": (slice) => ({ ...slice, last: null }),
};

export const latency = { initial, handlers };
