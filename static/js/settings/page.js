// What the settings of the page itself do: colours, size of text, and how much sound is held back; and the buttons that
// open all settings, which are loaded only then.

import { byId } from "../view/dom.js";

/** Button → the section it opens. */
const BUTTONS = { "open-settings": null, "open-devices": "sound" };
const root = document.documentElement;

/** @param chosen settings */
export function dress({ theme, text_size: size }) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  root.style.fontSize = size === 1 ? "" : `${size * 100}%`;
}

/** Hold sound and picture back by so much, where the browser lets the page say so. */
function hold(peer, ms) {
  for (const receiver of peer?.getReceivers() ?? []) {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = ms;
  }
}

export function mount({ store, call, settings, rest }) {
  let drawer = null;

  async function open(section) {
    drawer ??= Promise.all([import("./drawer.js"), rest()])
      .then(([{ create }, all]) => create({ ...all, root: byId("settings") }));
    drawer.catch(() => { drawer = null; }); // the server was away: the next press tries again
    (await drawer).open(section);
  }

  for (const [id, section] of Object.entries(BUTTONS)) byId(id).addEventListener("click", () => open(section));
  store.subscribe((_, events) => {
    for (const { type, changed } of events) {
      if (type === "client.settings") dress(settings.all);
      if (type === "client.connected" || (type === "client.settings" && "buffer" in changed)) hold(call.peer, settings.get("buffer"));
    }
  });
}
