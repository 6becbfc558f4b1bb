// What the camera shows, and the session's settings of vision as the server tells them.

const MAX_OBJECTS = 100;
const MAX_CHIPS = 4;
/** How long something that happened in an instant is shown. */
const CHIP_MS = 3500;

const initial = {
  settings: null, // session.vision as the server tells it
  scene: "",
  objects: [],
  chips: [], // {key, code, values, until}: what the camera has just shown; until null while it lasts, else ms
};

/** A chip stays until it is taken away, or `milliseconds` long. Its words are in i18n under `chip.CODE`. */
function chip(slice, event, key, code, milliseconds = null, values = {}) {
  const until = milliseconds === null ? null : (event.at ?? 0) + milliseconds;
  return { ...slice, chips: [...unchip(slice, key).chips, { key, code, values, until }].slice(-MAX_CHIPS) };
}

const unchip = (slice, key) => ({ ...slice, chips: slice.chips.filter((other) => other.key !== key) });

/** Chips to be seen at a time. @param slice state.vision @param now the clock that stamped the events, in ms */
export const visibleChips = ({ chips }, now) => chips.filter(({ until }) => until === null || until > now);

/** The server writes captions into the picture. @param settings state.vision.settings */
export const drawsCaptions = (settings) => Boolean(settings?.enabled && settings.overlay?.captions);

const gestureKey = ({ hand, gesture }) => `gesture ${hand ?? ""} ${gesture}`;

const settled = (slice, { session }) =>
  session?.vision
    ? { ...slice, settings: session.vision, chips: session.vision.enabled ? slice.chips : [] }
    : slice;

function held(slice, event) {
  if (event.outcome === "waiting") return chip(slice, event, "held", "waiting");
  if (event.outcome === "dropped") return chip(slice, event, "held", "dropped", CHIP_MS);
  return unchip(slice, "held");
}

const handlers = {
  "session.created": settled,
  "session.updated": settled,
  "vision.changed": (slice, event) =>
    ({ ...slice, scene: event.scene ?? "", objects: (event.objects ?? []).slice(0, MAX_OBJECTS) }),
  "vision.gesture.started": (slice, event) =>
    chip(slice, event, gestureKey(event), event.hand ? "gesture_of" : "gesture", null,
      { hand: event.hand ?? "", gesture: event.gesture ?? "" }),
  "vision.gesture.ended": (slice, event) => unchip(slice, gestureKey(event)),
  "vision.person.appeared": (slice, event) => chip(slice, event, `person ${event.id}`, "came", CHIP_MS),
  "vision.person.left": (slice, event) => chip(slice, event, `person ${event.id}`, "left", CHIP_MS),
  "vision.attention.changed": (slice, event) =>
    event.attention === "away" ? chip(slice, event, "attention", "away") : unchip(slice, "attention"),
  "vision.lag": (slice, event) =>
    event.state === "behind" ? chip(slice, event, "lag", "lag") : unchip(slice, "lag"),
  "vision.camera": (slice, event) =>
    event.state === "stopped" ? chip(slice, event, "camera", "no_picture") : unchip(slice, "camera"),
  "visavis.reply_held": held,
  "client.connecting": () => initial,
  "client.reconnecting": () => initial,
  "client.stopped": () => initial,
  "client.failed": () => initial,
};

export const vision = { initial, handlers };
