// The settings: a sheet at the side, so that what they change can be seen. Every change counts at once.

import { wording } from "../i18n/index.js";
import { h, icon } from "../view/dom.js";
import * as assistant from "./assistant.js";
import * as link from "./link.js";
import * as sound from "./sound.js";
import * as thisPage from "./this_page.js";
import * as turnTaking from "./turn_taking.js";
import * as vision from "./vision.js";

/** In the order in which they stand. Each makes {fields: elements, render(state), reset?()}. */
const SECTIONS = { assistant, turns: turnTaking, vision, sound, page: thisPage, link };

/** @param root the dialog, empty @returns {{open(section?: string)}} */
export async function create(context) {
  const { root, store, t } = context;
  await styled();
  let made = [];
  let said = 0; // which wording of the page it is made with
  make();

  function make() {
    made.forEach(([, section]) => section.close?.());
    made = Object.entries(SECTIONS).map(([name, { create: one }]) => [name, one(context)]);
    said = wording();
    const close = h("button", { class: "button icon quiet", type: "button", "aria-label": t("settings.close"), onclick: () => root.close() },
      icon("close"));
    root.replaceChildren(
      h("header", { class: "card-head" }, h("h2", { id: "settings-title" }, t("settings.title")), close),
      h("nav", { class: "sheet-nav", "aria-label": t("settings.sections") }, ...made.map(([name]) =>
        h("a", { href: `#settings-${name}`, onclick: (event) => jump(event, name) }, t(`settings.${name}`)))),
      h("div", { class: "sheet-body" }, ...made.map(([name, section]) => framed(name, section))),
    );
  }

  /** In another language. Where the reader was, the reader stays. */
  function remake() {
    const name = document.activeElement?.name;
    const top = root.querySelector(".sheet-body").scrollTop;
    make();
    root.querySelector(".sheet-body").scrollTop = top;
    if (name) root.querySelector(`[name="${name}"]`)?.focus({ preventScroll: true });
  }

  /** A section with its name, and a button that makes it as it was at first. */
  function framed(name, { fields, reset }) {
    const id = `settings-${name}`;
    const label = t("settings.reset_section", { section: t(`settings.${name}`) });
    const again = reset && h("button", { class: "button quiet", type: "button", "aria-label": label, onclick: () => { reset(); draw(); } },
      t("settings.reset"));
    return h("section", { id, "aria-labelledby": `${id}-title`, tabindex: "-1" },
      h("div", { class: "section-head" }, h("h3", { id: `${id}-title` }, t(`settings.${name}`)), again), ...fields);
  }

  /** The address stays as it is: what stands behind its # is for links. */
  function jump(event, name) {
    event?.preventDefault();
    const section = root.querySelector(`#settings-${name}`);
    section.parentElement.scrollTop = section.offsetTop;
    section.focus({ preventScroll: true });
  }

  function draw() {
    if (!root.open) return;
    if (said !== wording()) remake();
    made.forEach(([, section]) => section.render(store.state));
  }

  store.subscribe(draw);
  root.addEventListener("click", (event) => event.target === root && isOutside(event, root) && root.close());
  return {
    open(name) {
      if (!root.open) root.showModal(); // whoever had the focus has it again when it closes
      draw();
      if (name) jump(null, name);
    },
  };
}

const isOutside = ({ clientX: x, clientY: y }, root) => {
  const { left, right, top, bottom } = root.getBoundingClientRect();
  return x < left || x > right || y < top || y > bottom;
};

function styled() {
  const style = h("link", { rel: "stylesheet", href: new URL("../../css/settings.css", import.meta.url).href });
  const done = new Promise((loaded) => { style.onload = style.onerror = loaded; });
  document.head.append(style);
  return done;
}
