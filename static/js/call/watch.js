// Whether the server's process that a session lives in still runs. Where there are several, one may end without a word
// on the connection; whoever is in front of them knows at once, and answers then.

import { fetchWatch } from "./api.js";

const RETRY_MS = 2000;
const TRIES = 5;

/**
 * Ask until there is news. @param session its id @param ended called once, when the process is gone or about to end
 * @returns a function that stops asking
 */
export function watch(session, ended, ask = fetchWatch) {
  const abort = new AbortController();
  (async () => {
    for (let failed = 0; failed < TRIES && !abort.signal.aborted;) {
      try {
        const { state, again_in } = await ask(session, abort.signal);
        if (abort.signal.aborted) return;
        if (state !== "serving") return void ended(state);
        failed = 0;
        if (again_in) await pause(again_in * 1000);
      } catch (error) {
        if (error.name === "AbortError" || (error.status >= 400 && error.status < 500)) return;
        failed += 1;
        await pause(RETRY_MS);
      }
    }
  })();
  return () => abort.abort();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
