// Who answers, in which voice, and what it is told to be.

import { choice, lines, slider } from "./fields.js";
import { languagesOf, nameOf, optionsOf } from "./language.js";
import { LONGEST_INSTRUCTIONS, SPEED } from "./table.js";
import { h, setText } from "../view/dom.js";

const NAMES = ["voice", "model", "speed", "language", "pipeline", "instructions"];

export function create({ settings, t }) {
  const change = (name) => (value) => settings.set(name, value);
  const field = (name, more = {}) => ({ name, label: t(`settings.${name}`), change: change(name), ...more });
  const voice = choice(field("voice"));
  const speed = slider(field("speed", { ...SPEED, say: (value) => t("settings.times", { value }) }));
  const language = choice(field("language", { label: t("settings.i_speak"), hint: t("settings.language_hint") }));
  const pipeline = choice(field("pipeline", { hint: t("settings.pipeline_hint") }));
  const instructions = lines(field("instructions", { most: LONGEST_INSTRUCTIONS, hint: t("settings.instructions_hint") }));
  const model = choice(field("model", { label: t("settings.chat_model") }));
  const only = h("p", { class: "note", hidden: true });

  function render({ engines, settings: { inEffect } }) {
    const { voices = [], pipelines = [], models = [], pipeline: usual } = engines.status ?? {};
    const { voice: ownVoice, model: ownModel, speed: ownSpeed, language: code, pipeline: own, instructions: words } = settings.all;
    voice.show(ownVoice, { ...oneOf(voices.map(labelled(t)), ownVoice, t("settings.usual_voice")),
      reason: engines.status ? "" : t("settings.unknown") });
    speed.show(ownSpeed ?? inEffect?.speed ?? 1);
    const languages = languagesOf(engines);
    language.show(code, { options: optionsOf(languages, t("settings.any_language")), disabled: languages.length < 2 });
    pipeline.show(own === usual ? null : own, { ...oneOf(
      pipelines.filter(({ id }) => id !== usual).map(({ id, description }) => [id, description || id]), own === usual ? null : own,
      pipelines.find(({ id }) => id === usual)?.description || t("settings.usual_pipeline")), disabled: pipelines.length < 2 });
    instructions.show(words, { placeholder: inEffect?.instructions ?? "" });
    const name = inEffect?.model || engines.rows?.find(({ stage }) => stage === "llm")?.engine;
    model.element.hidden = models.length < 2;
    model.show(ownModel, oneOf(models.slice(1).map((id) => [id, id]), ownModel, models[0] ?? ""));
    only.hidden = !name || models.length > 1;
    if (name) setText(only, t("settings.model", { name }));
  }

  return { fields: [voice.element, speed.element, language.element, pipeline.element, model.element, only, instructions.element], render,
    reset: () => settings.reset(NAMES) };
}

const labelled = (t) => ({ id, name, language }) =>
  [id, language ? t("settings.voice_of", { name: name || id, language: nameOf(language) }) : name || id];

/** Rows of a select; what was chosen and is not there stays to be seen. */
function oneOf(rows, chosen, none) {
  const known = chosen === null || rows.some(([id]) => id === chosen);
  return { options: [["", none], ...rows, ...(known ? [] : [[chosen, chosen]])] };
}
