// The vision panel: what is looked for, what is drawn, and what looks do. Shows the session's settings as the server
// tells them, and asks the server for every change; nothing is assumed before it has answered.

import { h } from "./dom.js";

/** Each control: where its value is in `session.vision`, and what it is called. The detectors come before them. */
const GROUPS = [
  { title: "Draw", key: "overlay", items: [
    ["boxes", "Frames"], ["landmarks", "Lines"], ["labels", "Labels"], ["captions", "Captions"],
    ["latency", "Figures"]] },
  { title: "Picture", choices: [
    { path: ["mode"], name: "Overlay", options: [["live", "never waits"], ["exact", "fits each frame"]] },
    { path: ["background", "kind"], name: "Background", options: [["keep", "as it is"], ["blur", "blurred"],
      ["colour", "plain"]] }],
    items: [["auto_frame", "Follow me"]] },
  { title: "In conversation", key: "looks", items: [
    ["lips", "Only lips interrupt"], ["look_to_talk", "Look to talk"], ["gestures", "Open palm: be quiet"]] },
  { title: "Pictures for the model", choices: [
    { path: ["attach"], name: "Show it pictures", options: [["never", "never"], ["on_request", "when it asks"],
      ["always", "always"]] }] },
];
const PALM = "open palm";

/** Whether a switch is on, given `session.vision`. */
export function isOn(vision, key, name) {
  if (key === "detectors") return vision.detectors.includes(name);
  if (key === "looks" && name === "gestures") return (vision.looks?.gestures ?? {})[PALM] === "stop_speaking";
  return Boolean(key ? vision[key]?.[name] : vision[name]);
}

/** The part of `session.vision` to send so that a switch is `on`. */
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

/** The part to send so that a choice has a value. */
const patchForChoice = (path, value) => path.reduceRight((inner, step) => ({ [step]: inner }), value);

class VisionView {
  #panel = document.getElementById("vision");
  #summary = document.getElementById("vision-summary");
  #body = document.getElementById("vision-body");
  #change;
  #shown = null;
  #names = {};
  #refreshers = [];

  /** @param change called with the part of `session.vision` that shall change */
  constructor(change) {
    this.#change = change;
  }

  render({ vision: { settings: vision }, engines: { rows: engines }, call: { phase }, devices: { camera, cameraOff } }) {
    this.#panel.hidden = !vision || phase !== "connected" || !camera;
    if (!vision || vision === this.#shown) return;
    if (!this.#shown) this.#build(vision, detectorsOf(engines, vision));
    this.#shown = vision;
    this.#refreshers.forEach((refresh) => refresh(vision));
    this.#summary.textContent = vision.enabled && !cameraOff ? summaryOf(vision, this.#names) : "not looking";
  }

  #build(vision, detectors) {
    this.#names = Object.fromEntries(detectors);
    const groups = [{ title: "Look for", key: "detectors", items: detectors }, ...GROUPS];
    const enabled = this.#toggle(null, "enabled", "Look at my camera", {});
    this.#body.append(h("div", { class: "switches" }, enabled), ...groups.map((group) => this.#group(group, vision)));
  }

  #group({ title, key = null, items = [], choices = [] }, vision) {
    const set = h("fieldset", { class: "switches" }, h("legend", {}, title));
    const missing = key === "detectors" ? vision.unavailable ?? {} : {};
    set.append(...items.map(([name, label]) => this.#toggle(key, name, label, missing)));
    set.append(...choices.map((choice) => this.#choice(choice)));
    return set;
  }

  #toggle(key, name, label, missing) {
    const box = h("input", {});
    box.type = "checkbox";
    box.name = key ? `${key}.${name}` : name;
    box.addEventListener("change", () => this.#ask(patchFor(this.#shown, key, name, box.checked)));
    const element = h("label", { class: "switch" }, box, h("span", {}, label));
    this.#refreshers.push((vision) => {
      const reason = (key === "detectors" ? vision.unavailable ?? missing : missing)[name];
      box.checked = isOn(vision, key, name);
      box.disabled = Boolean(reason);
      element.title = reason ?? "";
    });
    return element;
  }

  #choice({ path, name, options }) {
    const select = h("select", {}, ...options.map(([value, label]) => {
      const option = h("option", {}, label);
      option.value = value;
      return option;
    }));
    select.name = path.join(".");
    select.addEventListener("change", () => this.#ask(patchForChoice(path, select.value)));
    this.#refreshers.push((vision) => { select.value = path.reduce((inner, step) => inner?.[step], vision) ?? ""; });
    return h("label", { class: "choice" }, h("span", {}, name), select);
  }

  #ask(patch) {
    this.#change(patch);
  }
}

/** Name and label of each detector that has a switch, as the server lists them with its engines. */
function detectorsOf(engines, vision) {
  const listed = engines?.find(({ stage }) => stage === "vision")?.detectors
    ?? vision.detectors.map((name) => ({ name, label: name }));
  return listed.filter(({ label }) => label).map(({ name, label }) => [name, label]);
}

function summaryOf(vision, names) {
  const seen = vision.detectors.map((name) => (names[name] ?? name).toLowerCase());
  return seen.length ? seen.slice(0, 3).join(", ") + (seen.length > 3 ? ` +${seen.length - 3}` : "") : "nothing";
}

export function mount({ store, call }) {
  const view = new VisionView((vision) => call.update({ vision }));
  store.subscribe((state) => view.render(state));
}
