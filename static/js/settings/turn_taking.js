// Whose turn it is: who decides that the user is done, how long they wait, and whether the assistant can be interrupted.

import { check, radios, slider } from "./fields.js";
import { EAGERNESS, SILENCE } from "./table.js";

const HAND = "push_to_talk";
const NAMES = ["turns", "silence", "eagerness", "interruptible"];
/** Pauses after what is surely complete, and after what surely is not, in ms: pipelines/voice/turn.py, `eager`. */
const PAUSES = { low: [250, 2560], medium: [125, 1280], high: [125, 640] };

export function create({ settings, call, store, t }) {
  const mode = radios({ name: "turns", label: t("settings.mode"), change: choose,
    options: ["semantic_vad", "server_vad", HAND].map((one) => [one, t(`settings.mode.${one}`), t(`settings.mode.${one}_hint`)]) });
  const silence = slider({ name: "silence", label: t("settings.patience"), hint: t("settings.silence_hint"), ...SILENCE,
    say: (ms) => t("settings.ms", { value: ms }), change: (ms) => settings.merge({ turns: "server_vad", silence: ms }) });
  const eagerness = slider({ name: "eagerness", label: t("settings.patience"), hint: t("settings.eagerness_hint"), least: 0, most: 2, step: 1,
    say: (at) => pausesOf(EAGERNESS[2 - at]), change: (at) => settings.merge({ turns: "semantic_vad", eagerness: EAGERNESS[2 - at] }) });
  const interruptible = check({ name: "interruptible", label: t("settings.interruptible"), hint: t("settings.interruptible_hint"),
    change: (on) => settings.set("interruptible", on) });

  const pausesOf = (one) => t("settings.between", { least: PAUSES[one][0], most: PAUSES[one][1] });

  function choose(one) {
    const byHand = store.state.devices.chosen.pushToTalk;
    if (one !== HAND) settings.set("turns", one); // first: while a hand decides, the session is told nothing of it
    if (byHand !== (one === HAND)) call.setPushToTalk(one === HAND);
  }

  /** Who decides now: as chosen, as the session says, or as servers usually have it. */
  function current({ devices, settings: { inEffect } }) {
    if (devices.chosen.pushToTalk) return HAND;
    return settings.get("turns") ?? inEffect?.turns?.type ?? "semantic_vad";
  }

  function render(state) {
    const one = current(state);
    mode.show(one);
    silence.element.hidden = one !== "server_vad";
    eagerness.element.hidden = one !== "semantic_vad";
    silence.show(settings.get("silence"));
    eagerness.show(2 - EAGERNESS.indexOf(settings.get("eagerness")));
    interruptible.show(settings.get("interruptible"), { disabled: one === HAND });
  }

  return { fields: [mode.element, silence.element, eagerness.element, interruptible.element], render, reset() {
    settings.reset(NAMES);
    if (store.state.devices.chosen.pushToTalk) call.setPushToTalk(false);
  } };
}
