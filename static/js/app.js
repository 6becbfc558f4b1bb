// Wiring only: makes the store and the call, and mounts what shows them.

import { takeKeyFromAddress } from "./call/api.js";
import { createCall } from "./call/call.js";
import { createServerStatus } from "./call/server_status.js";
import { Meters } from "./devices/levels.js";
import { createOutput } from "./devices/output.js";
import { t } from "./i18n/index.js";
import * as engines from "./inspector/engines.js";
import * as language from "./settings/language.js";
import { isRunning } from "./state/call.js";
import { slices, snapshotOf } from "./state/slices.js";
import { createStore } from "./state/store.js";
import * as controls from "./view/controls.js";
import { byId } from "./view/dom.js";
import * as keys from "./view/keys.js";
import * as problems from "./view/problems.js";
import * as stage from "./view/stage.js";
import * as status from "./view/status.js";
import * as vision from "./view/vision_panel.js";
import * as captions from "./words/caption_strip.js";
import * as composer from "./words/composer.js";
import * as transcript from "./words/transcript.js";

const store = createStore(slices);
const output = createOutput({ audio: byId("voice"), picture: byId("picture"), dispatch: store.dispatch });
const call = createCall({ store, output, levels: new Meters(stage.showLevel), t });
const server = createServerStatus({ store, call });
const context = { store, call, server, t, root: document.body };

for (const feature of [status, stage, controls, problems, keys, transcript, captions, composer, engines, language, vision]) {
  feature.mount(context);
}

window.visavis = Object.freeze({ get state() { return snapshotOf(store.state); } });
window.addEventListener("pagehide", () => isRunning(store.state.call) && call.stop());
window.addEventListener("hashchange", () => takeKeyFromAddress() && server.refresh());

takeKeyFromAddress();
server.refresh();
