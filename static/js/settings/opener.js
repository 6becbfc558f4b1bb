// The buttons that open the settings, which are loaded only then.

import { byId } from "../view/dom.js";

/** Button → the section it opens. */
const BUTTONS = { "open-settings": null, "open-devices": "sound" };

/** @returns {function(string|null)} opens a section, or the beginning */
export function mount(context) {
  let drawer = null;

  async function open(section) {
    drawer ??= import("./drawer.js").then(({ create }) => create({ ...context, root: byId("settings") }));
    (await drawer).open(section);
  }

  for (const [id, section] of Object.entries(BUTTONS)) byId(id).addEventListener("click", () => open(section));
  return open;
}
