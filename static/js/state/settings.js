// What the user has chosen (settings/table.js), and what the session says is in effect.

import { INITIAL } from "../settings/table.js";

const initial = {
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

const handlers = {
  "client.settings": (slice, event) => ({ ...slice, ...event.changed }),
  "session.created": told,
  "session.updated": told,
  "client.stopped": (slice) => ({ ...slice, inEffect: null }),
  "client.failed": (slice) => ({ ...slice, inEffect: null }),
};

export const settings = { initial, handlers };
