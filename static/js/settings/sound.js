// Microphone, camera, loudspeaker, and what the browser does to the sound.

import * as pickers from "../devices/pickers.js";
import { check, choice, group } from "./fields.js";
import { h } from "../view/dom.js";

const FILTERS = ["echo", "noise", "gain"];

export function create({ store, call, settings, t }) {
  const root = h("div", { class: "pickers" });
  const close = pickers.mount({ store, call, root, t });
  const filters = FILTERS.map((name) => check({ name, label: t(`settings.${name}`), hint: t(`settings.${name}_hint`), change: filter(name) }));
  const buffer = choice({ name: "buffer", label: t("settings.buffer"), hint: t("settings.buffer_hint"),
    options: [[0, t("settings.buffer.0")], [80, t("settings.buffer.80")]], change: (value) => settings.set("buffer", Number(value)) });

  /** Browsers settle this when they open a microphone: it is opened again. */
  function filter(name) {
    return (on) => {
      settings.set(name, on);
      const { microphone, chosen } = store.state.devices;
      if (microphone) call.setDevice("microphone", chosen.microphone?.id ?? "");
    };
  }

  function render() {
    filters.forEach((field, at) => field.show(settings.get(FILTERS[at])));
    const can = "jitterBufferTarget" in (globalThis.RTCRtpReceiver?.prototype ?? {});
    buffer.show(String(settings.get("buffer")), { reason: can ? "" : t("settings.buffer_unknown") });
  }

  return { fields: [root, group(t("settings.filters"), ...filters), buffer.element], render, close, reset() {
    const before = JSON.stringify(FILTERS.map(settings.get));
    settings.reset([...FILTERS, "buffer"]);
    if (before !== JSON.stringify(FILTERS.map(settings.get))) filter("echo")(settings.get("echo"));
  } };
}
