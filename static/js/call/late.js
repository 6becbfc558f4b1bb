// The call before its code is there: what it is asked to do waits for that. What there is of the call is told by the
// store from the beginning.

import { Unreachable, facts } from "./api.js";
import { explain } from "./refusals.js";

const ACTS = ["start", "stop", "retry", "reconnect", "hush", "tap", "share", "unshare", "setMicrophone", "setCamera"];

/** @param load () → the call of call/call.js; asked again after it has failed */
export function createLateCall({ store, load }) {
  let call = null;

  /** @returns whether the code is there */
  async function ready() {
    try {
      call ??= await load();
      return true;
    } catch (error) {
      store.dispatch({ type: "client.failed", problem: explain(new Unreachable(error), facts()) });
      return false;
    }
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
