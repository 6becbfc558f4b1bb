// What is looked for, what is drawn, and what looks do. Shows the session's settings as the server tells them, and asks the
// server for every change; nothing is assumed before it has answered.

import { check, choice, group } from "./fields.js";
import { h, setText } from "../view/dom.js";

/** Each switch and choice: where its value is in `session.vision`. The detectors come before them. */
const GROUPS = [
  { name: "draw", key: "overlay", switches: ["boxes", "landmarks", "labels", "captions", "latency"] },
  { name: "picture", choices: [[["mode"], ["live", "exact"]], [["background", "kind"], ["keep", "blur", "colour"]]], switches: ["auto_frame"] },
  { name: "conversation", key: "looks", switches: ["lips", "look_to_talk", "gestures"] },
  { name: "pictures", choices: [[["attach"], ["never", "on_request", "always"]]] },
];
const PALM = "open palm";

/** Whether a switch is on, given `session.vision`. Pure. */
export function isOn(vision, key, name) {
  if (key === "detectors") return vision.detectors.includes(name);
  if (key === "looks" && name === "gestures") return (vision.looks?.gestures ?? {})[PALM] === "stop_speaking";
  return Boolean(key ? vision[key]?.[name] : vision[name]);
}

/** The part of `session.vision` to send so that a switch is `on`. Pure. */
export function patchFor(vision, key, name, on) {
  if (key === "detectors") {
    const others = vision.detectors.filter((other) => other !== name);
    return { detectors: on ? [...others, name] : others };
  }
  if (key === "looks" && name === "gestures") {
    const { [PALM]: _, ...others } = vision.looks?.gestures ?? {};
    return { looks: { gestures: on ? { ...others, [PALM]: "stop_speaking" } : others } };
  }
  return key ? { [key]: { [name]: on } } : { [name]: on };
}

/** The part to send so that a choice has a value. Pure. */
const patchForChoice = (path, value) => path.reduceRight((inner, step) => ({ [step]: inner }), value);

/** Name, label and reason against each detector that has a switch, as the server lists them. Pure. */
export function detectorsOf({ rows, status }, vision) {
  const labelled = rows?.find(({ stage }) => stage === "vision")?.detectors ?? [];
  const listed = labelled.length ? labelled : (vision?.detectors ?? []).map((name) => ({ name, label: name }));
  const told = Object.fromEntries((status?.detectors ?? []).filter(({ available }) => !available).map(({ name, reason }) => [name, reason]));
  const missing = { ...told, ...vision?.unavailable };
  return listed.filter(({ label }) => label).map(({ name, label }) => ({ name, label, reason: missing[name] ?? "" }));
}

export function create({ store, teller, t }) {
  const note = h("p", { class: "note" });
  const detectors = group(t("vision.detectors"));
  const fields = []; // {show(vision, off)}
  let listed = "";
  let shown = [];

  const known = (key, fallback) => (t(key) === key ? fallback : t(key));
  const see = (patch) => teller.see(patch);

  function toggle(key, name, label) {
    const hint = `vision.${key ?? "self"}.${name}_hint`;
    const field = check({ name: key ? `${key}.${name}` : name, label, hint: known(hint, ""),
      change: (on) => see(patchFor(store.state.vision.settings, key, name, on)) });
    return { element: field.element, show: (vision, state) => field.show(Boolean(vision) && isOn(vision, key, name), state) };
  }

  function pick([path, values]) {
    const name = path.join(".");
    const field = choice({ name, label: t(`vision.${name}`), options: values.map((value) => [value, t(`vision.${name}.${value}`)]),
      change: (value) => see(patchForChoice(path, value)) });
    return { element: field.element, show: (vision, state) => field.show(path.reduce((inner, step) => inner?.[step], vision) ?? values[0], state) };
  }

  const add = (field) => { fields.push(field); return field; };
  const enabled = add(toggle(null, "enabled", t("vision.self.enabled")));
  const groups = GROUPS.map(({ name, key = null, switches = [], choices = [] }) => group(t(`vision.group.${name}`),
    ...choices.map((one) => add(pick(one))),
    ...switches.map((one) => add(toggle(key, one, t(`vision.${key ?? "self"}.${one}`))))));

  function render({ vision: { settings: vision }, engines, devices, call: { phase } }) {
    const live = phase === "connected" && Boolean(vision);
    const rows = detectorsOf(engines, vision);
    if (JSON.stringify(rows.map(({ name }) => name)) !== listed) {
      listed = JSON.stringify(rows.map(({ name }) => name));
      shown = rows.map(({ name, label }) => toggle("detectors", name, known(`detector.${name}`, label)));
      detectors.replaceChildren(detectors.firstChild, ...shown.map(({ element }) => element));
    }
    shown.forEach((field, at) => field.show(vision, { disabled: !live, reason: rows[at].reason }));
    fields.forEach((field) => field.show(vision, { disabled: !live }));
    detectors.hidden = !rows.length;
    note.hidden = live && devices.camera && !devices.cameraOff;
    setText(note, t(live ? "vision.no_camera" : "vision.no_call"));
  }

  return { fields: [note, enabled.element, detectors, ...groups], render, reset: () => teller.forget() };
}
