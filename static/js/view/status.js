// What is going on, in a word; and how quick the way there is.

import { statusOf } from "../state/call.js";
import { byId, setText } from "./dom.js";

export function mount({ store, t }) {
  byId("host").textContent = location.host;

  function render(state) {
    const status = statusOf(state);
    byId("stage").dataset.status = status;
    const word = t(`status.${status}`, { attempt: state.call.attempt || 1 });
    setText(byId("status-text"), word);
    document.title = state.call.phase === "connected" ? `${word} · visavis` : "visavis";
    renderReadout(state);
  }

  function renderReadout({ call: { phase, stats }, devices: { camera, cameraOff }, latency: { last } }) {
    const path = [];
    if (stats.framesPerSecond && camera && !cameraOff) path.push(t("status.fps", { count: Math.round(stats.framesPerSecond) }));
    if (stats.roundTripMs !== null) path.push(t("status.round_trip", { ms: Math.max(1, Math.round(stats.roundTripMs)) }));
    setText(byId("readout-latency"), last ? t("status.latency", { ms: Math.round(last.voice_to_voice_ms) }) : "");
    setText(byId("readout-path"), path.join(" · "));
    byId("readout").hidden = phase !== "connected" || (!last && !path.length);
  }

  store.subscribe(render);
  render(store.state);
}
