// Wiring only: makes the store and the call, and mounts what shows them.

import * as api from "./call/api.js";
import { createCall } from "./call/call.js";
import { createRecovery } from "./call/recovery.js";
import { createServerStatus } from "./call/server_status.js";
import { createLevels } from "./devices/levels.js";
import { createOutput } from "./devices/output.js";
import { load, more, t, translate } from "./i18n/index.js";
import { languageOf } from "./i18n/languages.js";
import * as inspector from "./inspector/drawer.js";
import * as engines from "./inspector/summary.js";
import * as language from "./settings/language.js";
import * as opener from "./settings/opener.js";
import * as page from "./settings/page.js";
import { createTeller } from "./settings/session.js";
import { takeFromAddress } from "./settings/share.js";
import { createSettings } from "./settings/store.js";
import { isRunning } from "./state/call.js";
import { slices, snapshotOf } from "./state/slices.js";
import { createStore } from "./state/store.js";
import * as controls from "./view/controls.js";
import { byId } from "./view/dom.js";
import * as keys from "./view/keys.js";
import * as problems from "./view/problems.js";
import * as stage from "./view/stage.js";
import * as status from "./view/status.js";
import * as captions from "./words/caption_strip.js";
import * as composer from "./words/composer.js";
import * as download from "./words/download.js";
import * as ear from "./words/ear.js";
import * as transcript from "./words/transcript.js";

const store = createStore(slices);
const settings = createSettings(store);
page.dress(settings.all);
await load(languageOf(settings.get("lang"), navigator.languages));
translate(document);
const tell = problems.createTell({ dispatch: store.dispatch, t });
const output = createOutput({ audio: byId("voice"), picture: byId("picture"), dispatch: store.dispatch });
const levels = createLevels({ show: stage.showLevel, onSilent: (name) => tell("mic_silent", { name }) });
const call = createCall({ store, output, levels, tell });
const server = createServerStatus({ store, call });
const { toggle: inspect } = inspector.mount({ store, call, t, settings, root: byId("inspector") });
const teller = createTeller({ store, call, settings });
const context = { store, call, server, t, settings, teller, api, inspect, root: document.body };

for (const feature of [status, stage, controls, problems, keys, transcript, composer, ear, engines, language, page, opener]) {
  feature.mount(context);
}
createRecovery({ store, call, tell });
captions.mount({ ...context, root: byId("caption") });
download.mount({ ...context, root: byId("conversation-head") });

window.visavis = Object.freeze({ get state() { return snapshotOf(store.state); } });
window.addEventListener("pagehide", () => isRunning(store.state.call) && call.stop());
window.addEventListener("hashchange", () => {
  takeFromAddress(settings);
  if (api.takeKeyFromAddress()) server.refresh();
});

takeFromAddress(settings);
api.takeKeyFromAddress();
server.refresh();
// What only a call needs, when the page stands.
more().then(() => { translate(document); settings.merge({}); });
for (const extra of ["call/wake_lock.js", "call/media_session.js"]) {
  import(`./${extra}`).then((feature) => feature.mount(context));
}
