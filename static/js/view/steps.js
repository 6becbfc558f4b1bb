// What is to be seen while a call is being made, and while nobody says anything: each step with the time that it took, and
// a word of encouragement.

import { statusOf } from "../state/call.js";
import { byId, h, icon, setText } from "./dom.js";

/** So long nobody has said anything. */
const SILENCE_MS = 4000;

/** The microphone is listened to, and nobody has said a word in this conversation. Pure. */
export const isWaitingForWords = (state) =>
  statusOf(state) === "listening" && !state.words.entries.some(({ role, typed }) => role === "user" && !typed)
  && !state.problems.notices.some(({ code }) => code === "mic_silent");

export function mount({ store, t }) {
  const list = h("ol", { class: "steps", id: "steps", hidden: true });
  const hint = h("p", { id: "hint", hidden: true });
  byId("caption").before(list, hint);
  let shown = null;
  let waiting = 0;

  function renderSteps({ call: { phase, steps }, problems: { problem } }) {
    list.hidden = !["asking", "connecting"].includes(phase) || problem !== null;
    if (list.hidden || steps === shown) return;
    shown = steps;
    const current = steps.find(({ ms }) => ms === null);
    list.replaceChildren(...steps.map((step) => h("li", { class: step.ms !== null ? "done" : step === current ? "current" : "",
      "aria-current": step === current && "step" }, icon(step.ms === null ? "dot" : "tick"), h("span", {}, t(`step.${step.name}`)),
    step.ms === null ? null : h("small", {}, t("step.ms", { ms: Math.round(step.ms) })))));
  }

  function renderHint(state) {
    const quiet = isWaitingForWords(state);
    if (quiet === Boolean(waiting)) return;
    clearTimeout(waiting);
    waiting = quiet ? setTimeout(() => { hint.hidden = false; setText(hint, t("status.say_something")); }, SILENCE_MS) : 0;
    if (!quiet) hint.hidden = true;
  }

  const render = (state) => { renderSteps(state); renderHint(state); };
  store.subscribe(render);
  render(store.state);
}
