// Microphone, camera, screen and loudspeaker: which there are, which are in use, and what the user has chosen.

const NONE = { microphone: null, camera: null, speaker: null, volume: 1, withCamera: true, pushToTalk: false };

/** What is legal of what was stored; everything else is as if it had not been chosen. Pure. */
export function legal(found) {
  const chosen = { ...NONE };
  for (const kind of ["microphone", "camera", "speaker"]) {
    const { id, label } = found?.[kind] ?? {};
    if (typeof id === "string" && id) chosen[kind] = { id, label: typeof label === "string" ? label.slice(0, 200) : "" };
  }
  if (Number.isFinite(found?.volume)) chosen.volume = Math.min(1, Math.max(0, found.volume));
  for (const flag of ["withCamera", "pushToTalk"]) {
    if (typeof found?.[flag] === "boolean") chosen[flag] = found[flag];
  }
  return chosen;
}

/** What ends with a call. */
const unused = {
  microphone: false, // there is one in this call
  muted: false, // and it is switched off
  camera: false,
  cameraOff: false,
  sharing: false, // the screen
  blocked: false, // the browser plays nothing before the user has touched the page
  talking: false, // the talk button is held
  names: { microphone: "", camera: "" }, // of those in use
};

const initial = {
  ...unused,
  listed: { microphone: [], camera: [], speaker: [] }, // {id, label} of what is plugged in
  chosen: legal({}),
};

const none = (slice) => ({ ...slice, ...unused });

const handlers = {
  "client.connecting": none,
  "client.stopped": none,
  "client.failed": none,
  "client.media": (slice, { microphone, camera, names }) =>
    ({ ...slice, microphone, camera, names: { ...slice.names, ...names } }),
  "client.muted": (slice, event) => ({ ...slice, muted: event.muted }),
  "client.camera_off": (slice, event) => ({ ...slice, cameraOff: event.off }),
  "client.sharing": (slice, event) => ({ ...slice, sharing: event.sharing }),
  "client.audio_blocked": (slice, event) => ({ ...slice, blocked: event.blocked }),
  "client.talking": (slice, event) => ({ ...slice, talking: event.talking }),
  "client.devices_listed": (slice, event) => ({ ...slice, listed: event.listed }),
  "client.device_chosen": (slice, event) => ({ ...slice, chosen: legal({ ...slice.chosen, ...event.chosen }) }),
};

export const devices = { initial, handlers };
