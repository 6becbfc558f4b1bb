// The choice of microphone, camera and loudspeaker, the volume, and whether a button is held to talk.

import { h } from "../view/dom.js";
import { listDevices } from "./media.js";
import { canChooseSpeaker, canSetVolume } from "./output.js";

const KINDS = ["microphone", "camera", "speaker"];

/** Rows of a select: the browser's own choice, what is plugged in, and what was chosen and is not there. Pure. */
export function optionsOf(listed, chosen, t) {
  const rows = [{ id: "", label: t("device.default") }];
  listed.forEach(({ id, label }, place) => {
    if (id !== "default") rows.push({ id, label: label || t("device.unnamed", { number: place + 1 }) });
  });
  if (chosen && !rows.some(({ id }) => id === chosen.id)) {
    rows.push({ id: chosen.id, label: t("device.not_found", { name: chosen.label }) });
  }
  return rows;
}

/** Keep the list of what is plugged in. @param mended called when something was plugged in */
export function watchDevices({ store, mended }) {
  const refresh = async () => {
    const before = store.state.devices.listed;
    const listed = await listDevices();
    store.dispatch({ type: "client.devices_listed", listed });
    for (const kind of ["microphone", "camera"]) {
      if (listed[kind].length > before[kind].length) mended(kind);
    }
  };
  navigator.mediaDevices?.addEventListener?.("devicechange", refresh);
  let known = false;
  store.subscribe((state, events) => {
    if (events.some(({ type }) => type === "client.connecting")) known = false;
    if (known || !(state.devices.microphone || state.devices.camera)) return;
    known = true;
    refresh(); // now they have names
  });
}

/** @returns a function that ends it */
export function mount({ store, call, root, t }) {
  const selects = {};
  const rows = KINDS.filter((kind) => kind !== "speaker" || canChooseSpeaker()).map((kind) => {
    selects[kind] = h("select", { name: kind, autocomplete: "off", onchange: () => call.setDevice(kind, selects[kind].value) });
    return h("label", { class: "choice" }, h("span", {}, t(`device.${kind}`)), selects[kind]);
  });
  const volume = h("input", { type: "range", min: "0", max: "100", step: "5", name: "volume",
    oninput: () => call.setVolume(Number(volume.value) / 100) });
  const talk = h("input", { type: "checkbox", name: "push_to_talk", onchange: () => call.setPushToTalk(talk.checked) });
  root.append(...rows,
    canSetVolume() ? h("label", { class: "choice" }, h("span", {}, t("device.volume")), volume) : "",
    h("label", { class: "choice check" }, talk, h("span", {}, t("device.push_to_talk"))),
    h("p", { class: "fine" }, t("device.fine")));

  let shown = null;
  function render({ devices }) {
    if (devices.listed === shown?.listed && devices.chosen === shown.chosen) return;
    shown = devices;
    for (const [kind, select] of Object.entries(selects)) {
      const options = optionsOf(devices.listed[kind], devices.chosen[kind], t);
      select.replaceChildren(...options.map(({ id, label }) => new Option(label, id)));
      select.value = devices.chosen[kind]?.id ?? "";
    }
    volume.value = String(Math.round(devices.chosen.volume * 100));
    talk.checked = devices.chosen.pushToTalk;
  }

  render(store.state);
  return store.subscribe(render);
}
