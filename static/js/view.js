// The page: state in, DOM out. Nothing here decides anything.

import { captionAt, tail } from "./captions.js";
import { EnginesView } from "./engines.js";
import { canShareScreen } from "./devices.js";
import { isReplying, newsOf, statusOf, visibleChips } from "./events.js";
import { fetchingLine } from "./fetching.js";
import { LanguageView } from "./language.js";
import { TranscriptView, icon, make } from "./transcript.js";
import { VisionView } from "./vision.js";

const STATUS_TEXT = {
  idle: "Idle", connecting: "Connecting", lost: "Disconnected", listening: "Listening", hearing: "Hearing you",
  thinking: "Thinking", speaking: "Speaking", muted: "Muted", ready: "Ready",
};

const byId = (id) => document.getElementById(id);

export class View {
  #transcript = new TranscriptView();
  #engines = new EnginesView();
  #language;
  #vision;
  #chips = "";
  #notices = null;
  #problem = null;
  #actions;

  /** @param actions toggle, mute, camera, share, hush, retry, typeInstead, useKey(key), say(text), dismiss(text), see(vision), speak(code) */
  constructor(actions) {
    this.#actions = actions;
    this.#vision = new VisionView(actions.see);
    this.#language = new LanguageView(actions.speak);
    byId("host").textContent = location.host;
    for (const [id, action] of [["toggle", "toggle"], ["mute", "mute"], ["camera", "camera"], ["share", "share"], ["hush", "hush"],
      ["retry", "retry"], ["type-instead", "typeInstead"]]) {
      byId(id).addEventListener("click", () => actions[action]());
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) actions.hush();
    });
    this.#wireForms();
  }

  render(state) {
    const status = statusOf(state);
    const stage = byId("stage");
    stage.dataset.status = status;
    byId("status-text").textContent = STATUS_TEXT[status];
    document.title = state.phase === "connected" ? `${STATUS_TEXT[status]} · visavis` : "visavis";
    this.#renderStage(state, stage);
    this.#renderControls(state);
    this.#renderProblem(state.problem);
    this.#renderNotices(state.notices);
    this.#transcript.render(state);
    this.#engines.render(state);
    this.#language.render(state);
    this.#vision.render(state);
  }

  /** The words under the picture, and what has just happened in it, move on by themselves. @param now the clock that stamped the events, in ms */
  renderCaption(state, now) {
    byId("caption").textContent = isDrawnUpon(state) ? "" : captionOf(state, now);
    this.#renderChips(visibleChips(state, now));
    const line = [newsOf(state, now), fetchingLine(state.engines)].filter(Boolean).join(". ");
    byId("fetching").hidden = !line;
    if (byId("fetching").textContent !== line) byId("fetching").textContent = line;
  }

  /** @param name microphone | voice; @param level 0…1 */
  showLevel(name, level) {
    byId(name === "microphone" ? "mic-level" : "orb").style.setProperty("--level", level.toFixed(3));
  }

  /** Play a track that came from the server; ask for a tap where the browser insists on one. */
  async play(track) {
    const element = byId(track.kind === "video" ? "picture" : "voice");
    element.srcObject = new MediaStream([track]);
    try {
      await element.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.#askForTap(element);
    }
  }

  silence() {
    for (const id of ["picture", "voice"]) byId(id).srcObject = null;
    byId("hear").hidden = true;
  }

  focusMessage() {
    byId("composer-text").focus();
  }

  /** The key has been accepted: it need not stand in its field any longer. */
  forgetKey() {
    byId("key").value = "";
  }

  /** Put words that could not be sent back into the message box, before what has been typed since. */
  giveBack(words) {
    const text = byId("composer-text");
    text.value = [words, text.value.trim()].filter(Boolean).join(" ");
    byId("send").disabled = false;
  }

  #askForTap(element) {
    const button = byId("hear");
    button.hidden = false;
    button.onclick = () => {
      element.play().then(() => { button.hidden = true; }, () => {});
    };
  }

  #wireForms() {
    const text = byId("composer-text");
    const refresh = () => { byId("send").disabled = !text.value.trim(); };
    text.addEventListener("input", refresh);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const message = text.value.trim();
      if (!message || !this.#actions.say(message)) return;
      text.value = "";
      refresh();
    });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#actions.useKey(byId("key").value.trim());
    });
  }

  #renderStage(state, stage) {
    const running = state.phase === "connecting" || state.phase === "connected";
    const picture = state.phase === "connected" && state.camera && !state.cameraOff;
    stage.classList.toggle("with-picture", picture);
    byId("picture").hidden = !picture;
    byId("orb").hidden = picture || !running;
    byId("welcome").hidden = running || state.problem !== null;
    byId("scene").hidden = !state.scene || state.cameraOff;
    byId("scene-text").textContent = state.scene;
    this.#renderReadout(state);
  }

  #renderChips(chips) {
    const texts = chips.map((chip) => chip.text);
    if (texts.join("|") === this.#chips) return;
    this.#chips = texts.join("|");
    byId("chips").replaceChildren(...texts.map((text) => make("li", "chip", text)));
  }

  #renderReadout({ phase, latency, stats }) {
    const path = [];
    if (stats.framesPerSecond) path.push(`${Math.round(stats.framesPerSecond)} fps`);
    if (stats.roundTripMs !== null) path.push(`${Math.max(1, Math.round(stats.roundTripMs))} ms away`);
    byId("readout-latency").textContent = latency ? `${Math.round(latency.voice_to_voice_ms)} ms to first audio` : "";
    byId("readout-path").textContent = path.join(" · ");
    byId("readout").hidden = phase !== "connected" || (!latency && !path.length);
  }

  #renderControls(state) {
    const running = state.phase === "connecting" || state.phase === "connected";
    const toggle = byId("toggle");
    toggle.textContent = state.phase === "connecting" ? "Cancel" : running ? "Stop" : "Start";
    toggle.classList.toggle("primary", !running);
    toggle.classList.toggle("danger", running);

    byId("mute").disabled = !state.microphone;
    byId("mute").classList.toggle("off", state.muted);
    byId("mute-text").textContent = state.typing && running ? "No microphone" : state.muted ? "Unmute" : "Mute";
    byId("mute-icon").setAttribute("href", state.muted || (state.typing && running) ? "#i-mic-off" : "#i-mic");

    const noCamera = running && state.phase === "connected" && !state.camera;
    byId("camera").disabled = !state.camera;
    byId("camera").classList.toggle("off", state.cameraOff);
    byId("camera-text").textContent = noCamera ? "No camera" : state.cameraOff ? "Camera on" : "Camera off";
    byId("camera-icon").setAttribute("href", state.cameraOff || noCamera ? "#i-camera-off" : "#i-camera");

    byId("share").hidden = !canShareScreen();
    byId("share").disabled = state.phase !== "connected" || state.typing;
    byId("share").classList.toggle("on", state.sharing);
    byId("share").setAttribute("aria-pressed", String(state.sharing));
    byId("share-text").textContent = state.sharing ? "Stop sharing" : "Share screen";

    byId("hush").disabled = !isReplying(state);
  }

  #renderProblem(problem) {
    if (problem === this.#problem) return;
    this.#problem = problem;
    byId("problem").hidden = problem === null;
    if (!problem) return;
    byId("problem-title").textContent = problem.title;
    byId("problem-text").textContent = problem.text;
    byId("retry").hidden = !problem.retry;
    byId("retry").textContent = problem.retry ?? "";
    byId("type-instead").hidden = !problem.typing;
    byId("key-form").hidden = !problem.askKey;
    byId("use-key").disabled = Boolean(problem.checking);
    byId("use-key").textContent = problem.checking ? "Checking…" : "Use this key";
    if (problem.askKey && !problem.checking) {
      byId("key").focus();
      byId("key").select(); // a key that was refused stands there to be mended or typed anew
    }
  }

  #renderNotices(notices) {
    if (notices === this.#notices) return;
    this.#notices = notices;
    byId("notices").replaceChildren(...notices.map(({ text, level }) => {
      const dismiss = make("button", "button icon quiet", icon("close"));
      dismiss.type = "button";
      dismiss.setAttribute("aria-label", "Dismiss");
      dismiss.addEventListener("click", () => this.#actions.dismiss(text));
      return make("div", `notice ${level}`, icon("warn"), make("p", "", text), dismiss);
    }));
  }
}

/** The server writes the captions into the picture: they are not said twice. */
const isDrawnUpon = ({ camera, cameraOff, vision }) =>
  camera && !cameraOff && Boolean(vision?.enabled && vision.overlay?.captions);

function captionOf(state, now) {
  if (state.phase !== "connected") return "";
  if (state.hearing) {
    const current = state.entries.findLast((entry) => entry.role === "user" && entry.awaiting);
    return tail(current?.text ?? "");
  }
  if (!state.playing) return "";
  const spoken = state.entries.filter((entry) => entry.response && entry.response === state.playing.response);
  return captionAt(spoken.map((entry) => entry.text).join(" "), (now - state.playing.since) / 1000);
}
