// What is going on, in a word; and how quick the way there is.

import { statusOf } from "../state/call.js";
import { byId, setText } from "./dom.js";

/** Who has the page read out is told at most so often. */
const TOLD_MS = 1000;

export function mount({ store, t }) {
  const tell = seldom((word) => setText(byId("status-live"), word));
  byId("host").textContent = location.host;
  byId("encrypted").toggleAttribute("hidden", location.protocol !== "https:");

  function render(state) {
    const status = statusOf(state);
    byId("stage").dataset.status = status;
    const word = t(`status.${status}`, { attempt: state.call.attempt || 1 });
    setText(byId("status-text"), word);
    tell(word);
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

/** Calls `act` with the newest value, at most once in a second. */
function seldom(act) {
  let last = -TOLD_MS;
  let timer = 0;
  let newest = "";
  const now = () => {
    timer = 0;
    last = performance.now();
    act(newest);
  };
  return (value) => {
    if (value === newest) return;
    newest = value;
    timer ||= setTimeout(now, Math.max(0, last + TOLD_MS - performance.now()));
  };
}
