// What the first screen does not need: the call itself, its words, the keys, the inspector. Loaded when the page stands,
// or as soon as somebody wants it.

import { createCall } from "./call/call.js";
import * as details from "./call/details.js";
import * as mediaSession from "./call/media_session.js";
import * as recovery from "./call/recovery.js";
import * as wakeLock from "./call/wake_lock.js";
import { createLevels } from "./devices/levels.js";
import { createOutput } from "./devices/output.js";
import { more, translate } from "./i18n/index.js";
import * as inspector from "./inspector/drawer.js";
import { createTeller } from "./settings/session.js";
import { byId } from "./view/dom.js";
import * as keys from "./view/keys.js";
import { showLevel } from "./view/stage.js";
import * as steps from "./view/steps.js";
import * as captions from "./words/caption_strip.js";
import * as download from "./words/download.js";
import * as ear from "./words/ear.js";
import * as transcript from "./words/transcript.js";

let mounted = null;

/** @param context of the first screen @returns the same with the call, and what needs it; made once */
export function mount(context) {
  mounted ??= make(context).catch((error) => {
    mounted = null; // the server was away: the next try asks again
    throw error;
  });
  return mounted;
}

async function make(context) {
  const { store, tell, settings } = context;
  await more();
  translate(document);
  settings.merge({}); // draws anew, with all words
  const output = createOutput({ audio: byId("voice"), picture: byId("picture"), dispatch: store.dispatch });
  const levels = createLevels({ show: showLevel, onSilent: (name) => tell("mic_silent", { name }) });
  const call = createCall({ store, output, levels, tell });
  const { toggle: inspect } = inspector.mount({ ...context, call, root: byId("inspector") });
  const all = { ...context, call, inspect, teller: createTeller({ ...context, call }) };
  for (const feature of [details, recovery, keys, steps, transcript, ear, wakeLock, mediaSession]) feature.mount(all);
  captions.mount({ ...all, root: byId("caption") });
  download.mount({ ...all, root: byId("conversation-head") });
  return all;
}
