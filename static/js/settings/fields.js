// The fields of the settings: a label, a control, a line that explains it, and a reason where it cannot be had. Each is
// {element, show(value, {disabled, reason, options})}, and tells every change at once.

import { h, setText } from "../view/dom.js";

let made = 0;

/** A label and its control, with lines that belong to it. */
function framed(kind, label, control, hint, beside = null) {
  const id = `field-${(made += 1)}`;
  control.id ||= id;
  const lines = [hint && h("span", { class: "hint", id: `${id}-hint` }, hint), h("span", { class: "reason", id: `${id}-why`, hidden: true })];
  control.setAttribute("aria-describedby", [hint && `${id}-hint`, `${id}-why`].filter(Boolean).join(" "));
  const name = h("label", { for: control.id }, label);
  const row = kind === "check" ? [control, name] : [name, control, beside];
  const element = h("div", { class: `field ${kind}` }, h("div", { class: "row" }, ...row), ...lines);
  return { element, why: lines[1] };
}

function excuse(control, why, { disabled = false, reason = "" } = {}) {
  control.disabled = Boolean(disabled || reason);
  why.hidden = !reason;
  setText(why, reason ?? "");
}

/** One of several. @param options rows of [value, label]; values are text, "" stands for null */
export function choice({ name, label, hint, options = [], change }) {
  const select = h("select", { name, autocomplete: "off", onchange: () => change(select.value === "" ? null : select.value) });
  const { element, why } = framed("pick", label, select, hint);
  let shown = "";
  const fill = (rows) => {
    if (shown === JSON.stringify(rows)) return;
    shown = JSON.stringify(rows);
    select.replaceChildren(...rows.map(([value, text]) => new Option(text, value)));
  };
  fill(options);
  return { element, show(value, state = {}) {
    if (state.options) fill(state.options);
    select.value = value ?? "";
    excuse(select, why, state);
  } };
}

/** On or off. */
export function check({ name, label, hint, change }) {
  const box = h("input", { type: "checkbox", name, autocomplete: "off", onchange: () => change(box.checked) });
  const { element, why } = framed("check", label, box, hint);
  return { element, show(value, state = {}) {
    box.checked = Boolean(value);
    excuse(box, why, state);
  } };
}

/** A number. @param say value → how it is shown beside the slider */
export function slider({ name, label, hint, least, most, step, say, change }) {
  const value = h("output", { class: "value" });
  const input = h("input", { type: "range", name, min: least, max: most, step, autocomplete: "off",
    oninput: () => speak(), onchange: () => change(Number(input.value)) });
  const { element, why } = framed("slider", label, input, hint, value);
  const speak = () => {
    setText(value, say(Number(input.value)));
    input.setAttribute("aria-valuetext", value.textContent);
  };
  return { element, show(number, state = {}) {
    if (document.activeElement !== input || Number(input.value) !== number) input.value = String(number);
    speak();
    excuse(input, why, state);
  } };
}

/** A few, all to be seen. @param options rows of [value, label, hint] */
export function radios({ name, label, options, change }) {
  const inputs = new Map();
  const rows = options.map(([value, text, hint]) => {
    const id = `${name}-${value}`;
    const input = h("input", { type: "radio", name, id, value, autocomplete: "off", "aria-describedby": hint && `${id}-hint`,
      onchange: () => change(value) });
    inputs.set(value, input);
    return h("div", { class: "field check" }, h("div", { class: "row" }, input, h("label", { for: id }, text)),
      hint && h("span", { class: "hint", id: `${id}-hint` }, hint));
  });
  const element = h("fieldset", { class: "group" }, h("legend", {}, label), ...rows);
  return { element, show(value) {
    inputs.forEach((input, one) => { input.checked = one === value; });
  } };
}

/** Several lines of text, told when the field is left. */
export function lines({ name, label, hint, most, change }) {
  const area = h("textarea", { name, rows: "4", maxlength: most, autocomplete: "off", dir: "auto", onchange: () => change(area.value.trim() || null) });
  const { element, why } = framed("lines", label, area, hint);
  return { element, show(value, state = {}) {
    if (document.activeElement !== area) area.value = value ?? "";
    area.placeholder = state.placeholder ?? "";
    excuse(area, why, state);
  } };
}

/** Fields under a name of their own. */
export const group = (label, ...fields) => h("fieldset", { class: "group" }, h("legend", {}, label), ...fields.map((field) => field.element ?? field));
