// The strip under the picture. A screen reader learns nothing of it: it is told each turn when the turn is complete.

import { drawsCaptions } from "../state/vision.js";
import { byId, h } from "../view/dom.js";
import { captionOf } from "./captions.js";
import { heardMs, whilePlaying } from "./ticker.js";

/** What sounds: its words have times that all count from one beginning. */
function soundOf({ call: { playing }, words }) {
  const first = words.entries.find(({ response, words: times }) => response === playing.response && times.length);
  return { response: playing.response, from: playing.since, words: first?.words };
}

/** @param settings tells `captions` (on or off) and `caption_size` (1 to 2) */
export function mount({ store, root, settings }) {
  const button = byId("captions");
  let shown = "";

  function draw(state, now) {
    const { devices, vision, call } = state;
    const inPicture = devices.camera && !devices.cameraOff && drawsCaptions(vision.settings);
    const wanted = settings.get("captions") && !inPicture;
    const lines = wanted ? captionOf(state, call.playing ? heardMs(state, soundOf(state), now) : 0) : [];
    if (lines.join("\n") === shown) return;
    shown = lines.join("\n");
    root.replaceChildren(...lines.map((line) => h("span", { class: "line", dir: "auto" }, line)));
  }

  function update() {
    button?.setAttribute("aria-pressed", String(Boolean(settings.get("captions"))));
    root.style.setProperty("--caption-size", String(settings.get("caption_size") ?? 1));
    draw(store.state, performance.now());
  }

  const toggle = () => {
    settings.set("captions", !settings.get("captions"));
    update();
  };
  button?.addEventListener("click", toggle);
  whilePlaying(store, draw);
  store.subscribe(update);
  update();
  return { toggle };
}
