// Settings → what the session is told. Everything that was chosen is told when a call begins, every change when it is made.

import { INITIAL } from "./table.js";

const TURNS = ["turns", "silence", "eagerness", "interruptible"];
/** Settings that a session is told of. */
export const TOLD = ["voice", "model", "speed", "language", "instructions", ...TURNS];
/** What a server refuses when it runs with other engines than it did when this was chosen. */
const APART = ["language"];
/** Fields of `session.vision` that can be told back. */
const VISION = ["enabled", "mode", "detectors", "overlay", "background", "looks", "attach", "auto_frame"];

/**
 * How the server shall tell that a turn is over. Pure.
 * @param usual what the session began with, where it is known
 */
export function turnDetection({ turns, silence, eagerness, interruptible }, usual = null) {
  const interrupts = { interrupt_response: interruptible };
  if (turns === "server_vad") return { type: turns, silence_duration_ms: silence, ...interrupts };
  if (turns === "semantic_vad") return { type: turns, eagerness, ...interrupts };
  return { ...usual, ...interrupts };
}

/**
 * The part of `session` for some settings. null means: as the server has it. Pure.
 * @param chosen all settings @param names those to tell
 * @param pushToTalk the user's hand ends turns: nothing is told about them @param usual see {@link turnDetection}
 */
export function sessionFor(chosen, names, { pushToTalk = false, usual = null } = {}) {
  const wants = (name) => names.includes(name);
  const input = {};
  if (wants("language")) input.transcription = { language: chosen.language };
  if (TURNS.some(wants) && !pushToTalk) input.turn_detection = turnDetection(chosen, usual);
  const output = Object.fromEntries(["voice", "speed"].filter(wants).map((name) => [name, chosen[name]]));
  const audio = { ...filled("input", input), ...filled("output", output) };
  const own = Object.fromEntries(["model", "instructions"].filter(wants).map((name) => [name, chosen[name]]));
  return { ...own, ...filled("audio", audio) };
}

const filled = (name, value) => (Object.keys(value).length ? { [name]: value } : {});

/** What was chosen of vision, without detectors that this server does not have. Pure. */
export function visionFor(chosen, missing = []) {
  if (!chosen.detectors) return chosen;
  return { ...chosen, detectors: chosen.detectors.filter((name) => !missing.includes(name)) };
}

/** Merge a part of `session.vision` into another, two levels deep as the server does. Pure. */
export function mergeVision(chosen, patch) {
  const merged = { ...chosen };
  for (const [name, value] of Object.entries(patch)) {
    const inner = typeof value === "object" && value !== null && !Array.isArray(value);
    merged[name] = inner ? { ...merged[name], ...value } : value;
  }
  return merged;
}

/** `session.vision` as the session began, as it can be told back. Pure. */
export const tellable = (vision) => Object.fromEntries(VISION.filter((name) => name in vision).map((name) => [name, vision[name]]));

/** @returns {{see(patch), forget()}} change how the session sees; see again as it began */
export function createTeller({ store, call, settings }) {
  let usual = null; // session.vision as the first session of the call began
  const missed = new Set(); // names of what was chosen while nobody could be told

  const options = ({ devices, call: { turns } }) => ({ pushToTalk: Boolean(devices.chosen?.pushToTalk), usual: turns ?? null });
  const missing = ({ engines }) =>
    (engines.status?.detectors ?? []).filter(({ available }) => !available).map(({ name }) => name);

  function tell(names, vision = {}) {
    const session = { ...sessionFor(settings.all, names, options(store.state)), ...filled("vision", vision) };
    if (Object.keys(session).length) call.update(session);
  }

  /** An update is refused as a whole: what this server may not have any more goes apart from the rest. */
  function tellAll(state) {
    const names = TOLD.filter((name) => missed.has(name) || settings.get(name) !== INITIAL[name]);
    tell(names.filter((name) => APART.includes(name)));
    tell(names.filter((name) => !APART.includes(name)));
    const vision = missed.has("vision") && usual ? mergeVision(tellable(usual), settings.get("vision")) : settings.get("vision");
    tell([], visionFor(vision, missing(state)));
    missed.clear();
  }

  function take(names, state) {
    if (state.call.phase === "connected") tell(names.filter((name) => TOLD.includes(name)));
    else names.forEach((name) => missed.add(name)); // a conversation that goes on remembers what held before
  }

  store.subscribe((state, events) => {
    for (const event of events) {
      if (event.type === "client.connecting" && !event.again) {
        usual = null;
        missed.clear();
      }
      if (event.type === "session.created") usual ??= event.session?.vision ?? null;
      if (event.type === "client.connected") tellAll(state);
      if (event.type === "client.settings") take(Object.keys(event.changed), state);
    }
  });

  return {
    see(patch) {
      settings.set("vision", mergeVision(settings.get("vision"), patch));
      call.update({ vision: patch });
    },
    forget() {
      settings.reset(["vision"]);
      if (usual && store.state.call.phase === "connected") call.update({ vision: tellable(usual) });
    },
  };
}
