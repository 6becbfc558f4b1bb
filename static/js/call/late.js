// The call before its code is there: what it is asked to do waits for that, and is done in the order in which it was
// asked. What there is of the call is told by the store from the beginning.

import { Unreachable, facts } from "./api.js";
import { explain } from "./refusals.js";

const ACTS = ["start", "stop", "retry", "reconnect", "hush", "tap", "share", "unshare", "setMicrophone", "setCamera"];

/** @param load () → the call of call/call.js; asked again after it has failed */
export function createLateCall({ store, load }) {
  let call = null;
  let coming = null; // one for all who wait: several imports of a module do not come in the order of their requests

  /** @returns {Promise<boolean>} whether the code is there */
  function ready() {
    coming ??= load().then((made) => {
      call = made;
      return true;
    }, (error) => {
      coming = null; // whoever asks next tries again
      store.dispatch({ type: "client.failed", problem: explain(new Unreachable(error), facts()) });
      return false;
    });
    return coming;
  }

  const act = (name) => async (...given) => {
    if (call || await ready()) return call[name](...given);
    return undefined;
  };
  return {
    ...Object.fromEntries(ACTS.map((name) => [name, act(name)])),
    send: (event) => call?.send(event) ?? false,
    talk: { press: () => call?.talk.press(), release: () => call?.talk.release() },
    ready,
    get peer() { return call?.peer ?? null; },
  };
}
