// How the server is: asked when the page opens, and again while models are on their way and there is no call that would tell.

import { fetchEngines, fetchStatus, useKey } from "./api.js";
import { explain } from "./refusals.js";
import { isFetching } from "../inspector/fetching.js";
import { isRunning } from "../state/call.js";

const ASK_MS = 1500;
/** Problems of a server with which nobody can talk; one that cannot list its engines may still. */
const STOPPING = new Set(["key", "address", "unreachable"]);

export function createServerStatus({ store, call }) {
  const { dispatch } = store;
  let asking = 0;

  const isIdle = () => !isRunning(store.state.call);

  async function refresh() {
    clearTimeout(asking);
    try {
      dispatch({ type: "engine.status", data: await fetchEngines() });
      solved();
      dispatch({ type: "client.status", status: await fetchStatus().catch(() => null) });
      const { rows, news } = store.state.engines;
      if (isFetching(rows) || news) asking = setTimeout(() => isIdle() && refresh(), ASK_MS);
    } catch (error) {
      const problem = explain(error);
      dispatch({ type: "client.engines_unknown" });
      if (!STOPPING.has(problem.kind)) solved();
      else if (isIdle()) call.fail(problem);
    }
  }

  function solved() {
    if (isIdle()) dispatch({ type: "client.problem_solved" });
  }

  store.subscribe((state, events) => {
    const happened = (type) => events.some((event) => event.type === type);
    if (state.engines.rows === null && happened("client.connected")) refresh();
    // What has just taken over makes ears, mind or voice better.
    if (happened("engine.status") && state.engines.news && !isIdle()) {
      fetchStatus().then((status) => dispatch({ type: "client.status", status }), () => {});
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
