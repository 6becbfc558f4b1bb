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

/** Sessions of one conversation whose recordings are listed, the newest. */
const MOST_RECORDED = 50;

const unrecorded = {
  on: false,
  wanted: false, // it was on when the connection was lost, and is asked for again in the next one
  video: false, // whether it was asked for with the picture
  seconds: 0, // recorded so far, as the server told it
  since: 0, // when it told so, in ms
  reason: null, // why it has stopped: time_limit | size_limit | disk_full | failed | asked, or lost with the connection
  session: null, // the newest session
  sessions: [], // those of this conversation of which anything was recorded: it can be had after their end
};

const unheard = (slice) => ({ ...slice, on: false, wanted: false });

export const recording = { initial: unrecorded, handlers: {
  "recording.changed": (slice, event) => {
    const [on, seconds] = [event.state === "on", Number(event.seconds) || 0];
    const { session, sessions } = slice;
    const more = (on || seconds > 0) && session && !sessions.includes(session);
    return { ...slice, on, seconds, wanted: false, since: event.at ?? 0, reason: event.reason ?? null,
      sessions: more ? [...sessions, session].slice(-MOST_RECORDED) : sessions };
  },
  "client.sent": (slice, { event: { session } }) =>
    (session?.recording?.enabled ? { ...slice, video: Boolean(session.recording.video) } : slice),
  "client.reconnecting": (slice) => (slice.on ? { ...slice, on: false, wanted: true, reason: "lost" } : slice),
  "client.answered": (slice, event) =>
    ({ ...(event.again ? { ...slice, on: false, seconds: 0 } : unrecorded), session: event.session_id ?? null }),
  "client.stopped": unheard,
  "client.failed": unheard,
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
