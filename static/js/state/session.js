// Slices of what holds in a session: what the user has chosen (settings/table.js) and what of it is in effect; and
// whether the conversation is being recorded, and what is there of it afterwards; and what the server gives up. Pure.

import { INITIAL } from "../settings/table.js";

const unset = {
  ...INITIAL,
  inEffect: null, // {voice, speed, instructions, model, turns} as the session tells them; null without one
};

/** Of `session.created` and `session.updated`. */
function told(slice, { session }) {
  const { audio, instructions = "", model = "" } = session ?? {};
  if (!audio) return slice;
  const { voice = null, speed = null } = audio.output ?? {};
  return { ...slice, inEffect: { voice, speed, instructions, model, turns: audio.input?.turn_detection ?? null } };
}

const over = (slice) => ({ ...slice, inEffect: null });

export const settings = { initial: unset, handlers: {
  "client.settings": (slice, event) => ({ ...slice, ...event.changed }),
  "session.created": told,
  "session.updated": told,
  "client.stopped": over,
  "client.failed": over,
} };

const unrecorded = {
  on: false,
  seconds: 0, // recorded so far, as the server told it
  since: 0, // when it told so, in ms
  reason: null, // why it has stopped: time_limit | size_limit | disk_full | asked
  session: null, // the newest session: its recording can be had after its end
  any: false, // whether anything of it has been recorded
};

export const recording = { initial: unrecorded, handlers: {
  "recording.changed": (slice, event) => {
    const on = event.state === "on";
    return { ...slice, on, seconds: Number(event.seconds) || 0, since: event.at ?? 0, reason: event.reason ?? null,
      any: slice.any || on || Number(event.seconds) > 0 };
  },
  "client.answered": (_, event) => ({ ...unrecorded, session: event.session_id ?? null }),
  "client.stopped": (slice) => ({ ...slice, on: false }),
  "client.failed": (slice) => ({ ...slice, on: false }),
} };

const unloaded = { shed: [] }; // vision | partials | speculation: comes less often while the server has too much to do

export const load = { initial: unloaded, handlers: {
  "session.degraded": (_, event) => ({ shed: Array.isArray(event.shed) ? event.shed : [] }),
  "client.answered": () => unloaded,
  "client.stopped": () => unloaded,
  "client.failed": () => unloaded,
} };

/** Seconds recorded. @param now in ms */
export const recordedSeconds = ({ on, seconds, since }, now) => seconds + (on ? Math.max(0, now - since) / 1000 : 0);
