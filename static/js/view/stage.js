// The stage: the annotated picture or the ring, what the camera shows, and the welcome.

import { isRunning } from "../state/call.js";
import { visibleChips } from "../state/vision.js";
import { byId, h, setText } from "./dom.js";

const TICK_MS = 200;

export function mount({ store, call, t }) {
  let shown = "";
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
