// The stage: the annotated picture or the ring, what the camera shows, and the welcome; what is going on, in a word, and
// how quick the way there is.

import { isRunning, statusOf } from "../state/call.js";
import { visibleChips } from "../state/vision.js";
import { byId, h, setText } from "./dom.js";

const TICK_MS = 200;
/** Who has the page read out is told at most so often. */
const TOLD_MS = 1000;

export function mount({ store, call, t }) {
  let shown = "";
  mountStatus({ store, t });
  byId("hear").addEventListener("click", () => call.tap());

  function render(state) {
    const { call: { phase }, devices: { camera, cameraOff, blocked }, problems: { problem }, vision: { scene } } = state;
    const picture = phase === "connected" && camera && !cameraOff;
    byId("stage").classList.toggle("with-picture", picture);
    byId("picture").hidden = !picture;
    byId("orb").hidden = picture || !isRunning(state.call) || problem !== null;
    byId("welcome").hidden = isRunning(state.call) || problem !== null;
    byId("scene").hidden = !scene || cameraOff;
    setText(byId("scene-text"), scene);
    byId("hear").hidden = !blocked;
    renderChips(state);
  }

  function renderChips({ vision }) {
    const texts = visibleChips(vision, performance.now()).map((chip) => chipText(chip, t));
    if (texts.join("|") === shown) return;
    shown = texts.join("|");
    byId("chips").replaceChildren(...texts.map((text) => h("li", { class: "chip" }, text)));
  }

  store.subscribe(render);
  setInterval(() => renderChips(store.state), TICK_MS); // chips go by themselves
  render(store.state);
}

function mountStatus({ store, t }) {
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

  function renderReadout({ call: { phase, stats }, devices: { camera, cameraOff }, latency: { last }, load: { shed } }) {
    const path = [];
    const busy = byId("readout-busy");
    setText(busy, shed.length ? t("status.busy") : "");
    busy.title = shed.length ? t("status.less", { what: shed.map((part) => t(`shed.${part}`)).join(", ") }) : "";
    if (stats.framesPerSecond && camera && !cameraOff) path.push(t("status.fps", { count: Math.round(stats.framesPerSecond) }));
    if (stats.roundTripMs !== null) path.push(t("status.round_trip", { ms: Math.max(1, Math.round(stats.roundTripMs)) }));
    setText(byId("readout-latency"), last ? t("status.latency", { ms: Math.round(last.voice_to_voice_ms) }) : "");
    setText(byId("readout-path"), path.join(" · "));
    byId("readout").hidden = phase !== "connected" || (!last && !path.length && !shed.length);
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

/** The words of a chip; hands and gestures are called as the server calls them where the page has no word for them. */
function chipText({ code, values }, t) {
  const named = Object.entries(values).map(([name, value]) => {
    const key = `${name}.${value.replaceAll(" ", "_")}`;
    return [name, t(key) === key ? value : t(key)];
  });
  return t(`chip.${code}`, Object.fromEntries(named));
}

/** @param name microphone | voice; @param level 0…1 */
export function showLevel(name, level) {
  byId(name === "microphone" ? "mic-level" : "orb").style.setProperty("--level", level.toFixed(3));
}
