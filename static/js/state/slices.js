// All slices of the state, and what tests and the curious read of it from `window.visavis.state`.

import { call, statusOf } from "./call.js";
import { devices } from "./devices.js";
import { engines } from "./engines.js";
import { latency } from "./latency.js";
import { problems } from "./problems.js";
import { load, recording, settings } from "./session.js";
import { vision } from "./vision.js";
import { transcriptOf, words } from "./words.js";

export const slices = { call, words, vision, latency, engines, devices, settings, problems, recording, load };

/** A snapshot that does not change any more. */
export function snapshotOf(state) {
  const { call: { phase, stats, session_id, attempt }, devices: { sharing, muted, camera } } = state;
  return Object.freeze({
    phase, session_id, attempt, sharing, muted, camera,
    status: statusOf(state),
    transcript: transcriptOf(state.words).map(({ role, text, final, interrupted, unheard }) =>
      ({ role, text, final, interrupted, unheard })),
    recording: state.recording.on,
    shed: state.load.shed,
    scene: state.vision.scene,
    chips: state.vision.chips.map((chip) => chip.code),
    vision: state.vision.settings,
    latency: state.latency.last,
    remoteEnergy: stats.remoteEnergy,
    engines: state.engines.rows,
    language: state.settings.language,
    problem: state.problems.problem?.code ?? null,
    notices: state.problems.notices.map((notice) => notice.text),
  });
}
