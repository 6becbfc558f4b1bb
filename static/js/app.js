// Wiring only: makes the store, mounts the first screen, and loads the rest (later.js) when it stands.

import * as api from "./call/api.js";
import { createLateCall } from "./call/late.js";
import { unsupported } from "./call/refusals.js";
import { createServerStatus } from "./call/server_status.js";
import { load, t, translate } from "./i18n/index.js";
import { languageOf } from "./i18n/languages.js";
import * as engines from "./inspector/summary.js";
import * as language from "./settings/language.js";
import * as page from "./settings/page.js";
import { createSettings } from "./settings/store.js";
import { isRunning } from "./state/call.js";
import { slices, snapshotOf } from "./state/slices.js";
import { createStore } from "./state/store.js";
import * as controls from "./view/controls.js";
import * as problems from "./view/problems.js";
import * as stage from "./view/stage.js";
import * as composer from "./words/composer.js";

const store = createStore(slices);
const settings = createSettings(store);
page.dress(settings.all);
await load(languageOf(settings.get("lang"), navigator.languages));
translate(document);
const tell = problems.createTell({ dispatch: store.dispatch, t });
const call = createLateCall({ store, load: async () => (await rest()).call });
const server = createServerStatus(store);
const context = { store, call, server, t, tell, settings, api, rest, inspect: async (tab) => (await rest()).inspect(tab), root: document.body };

for (const feature of [stage, controls, problems, composer, engines, language, page]) feature.mount(context);
const problem = unsupported({ secure: isSecureContext && Boolean(navigator.mediaDevices), webrtc: Boolean(window.RTCPeerConnection) });
if (problem) store.dispatch({ type: "client.failed", problem });

window.visavis = Object.freeze({ get state() { return snapshotOf(store.state); } });
window.addEventListener("pagehide", () => {
  const { call: slice } = store.state;
  if (slice.session_id) api.hangUp(slice.session_id);
  if (isRunning(slice)) call.stop();
});
window.addEventListener("hashchange", async () => {
  await takeLink();
  if (api.takeKeyFromAddress()) server.refresh();
});

const linked = takeLink();
api.takeKeyFromAddress();
server.refresh();
linked.then(rest);

/** What only a call needs, and what is opened by a button. @returns all that features are given */
function rest() {
  return import("./later.js").then((later) => later.mount(context));
}

/** What was chosen by whoever has made the link to this page. */
async function takeLink() {
  if (location.hash) (await import("./settings/share.js")).takeFromAddress(settings);
}
