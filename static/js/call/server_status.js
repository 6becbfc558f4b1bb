// How the server is: asked when the page opens, and again while models are on their way and there is no call that would
// tell, or while the server cannot be reached.

import { facts, fetchStatus, hasKey, useKey } from "./api.js";
import { explain, needsKey } from "./refusals.js";
import { isRunning } from "../state/call.js";
import { isFetching } from "../state/engines.js";

const ASK_MS = 1500;
const ASK_AGAIN_MS = 2000;
/** Problems of a server with which nobody can talk. */
const STOPPING = new Set(["unauthorised", "key_wrong", "address_unknown", "server_unreachable", "cert_untrusted"]);

export function createServerStatus(store) {
  const { dispatch } = store;
  let asking = 0;
  let passed = false; // it was time to ask, and there was a call

  const isIdle = () => !isRunning(store.state.call);
  const askIn = (ms) => {
    clearTimeout(asking);
    asking = setTimeout(() => (isIdle() ? refresh() : (passed = true)), ms);
  };

  async function refresh() {
    clearTimeout(asking);
    passed = false;
    try {
      take(await fetchStatus());
    } catch (error) {
      const problem = explain(error, facts());
      dispatch({ type: "client.engines_unknown" });
      if (!STOPPING.has(problem.code)) solved(); // a server that cannot tell how it is may still talk
      else refuse(problem);
      if (problem.lost) askIn(ASK_AGAIN_MS);
    }
  }

  function take(status) {
    if (status.auth_required && !status.engines) return refuse(needsKey(hasKey()));
    dispatch({ type: "client.status", status });
    solved();
    const { rows, news } = store.state.engines;
    if (isFetching(rows) || news || status.warming_up?.length) askIn(ASK_MS);
    return undefined;
  }

  /** What the user has to mend first stays. */
  function refuse(problem) {
    const { problem: shown } = store.state.problems;
    if (isIdle() && (!shown || shown.server) && (shown?.code !== problem.code || shown.checking)) dispatch({ type: "client.failed", problem });
  }

  function solved() {
    if (isIdle()) dispatch({ type: "client.problem_solved" });
  }

  store.subscribe((state, events) => {
    const happened = (type) => events.some((event) => event.type === type);
    if (state.engines.rows === null && happened("client.connected")) refresh();
    const over = happened("client.stopped") || happened("client.failed");
    if (over && isIdle() && (passed || isFetching(state.engines.rows))) askIn(ASK_MS); // the call does not tell any more
    const { problem } = state.problems;
    if (happened("client.failed") && problem?.server && problem.lost) askIn(ASK_AGAIN_MS);
    // What has just taken over makes ears, mind or voice better.
    if (happened("engine.status") && state.engines.news && !isIdle()) {
      const told = ({ engines: _, ...status }) => dispatch({ type: "client.status", status }); // the call told them newer
      fetchStatus().then(told, () => {});
    }
  });

  return {
    refresh,
    tryKey(key) {
      if (!key) return;
      useKey(key);
      dispatch({ type: "client.checking" });
      refresh();
    },
  };
}
