// Why something did not work: a code for each cause, which has words of its own, and what helps. Pure.
//
// The words are in i18n under `problem.CODE.title` and `problem.CODE.text`; `#CODE` is its anchor in the documentation.

import { ApiError, Unreachable } from "./api.js";

/**
 * @typedef {object} Problem
 * @property {string} code
 * @property {object} values what the words have holes for
 * @property {string} [retry] key of the button that tries again
 * @property {boolean} [typing] offer to go on by typing
 * @property {boolean} [askKey] show the field for the server's key
 * @property {boolean} [checking] the key is being tried
 * @property {boolean} [lost] there was a connection, or there is no server
 * @property {boolean} [passing] it may be over in a moment: a conversation that was lost tries again
 * @property {boolean} [server] it is the server's, and over when the server answers again
 * @property {boolean} [secure] show the address that the browser would trust
 * @property {object[]} [candidates] the ways that were tried
 */

const AGAIN = "problem.again";
const RECONNECT = "problem.reconnect";
/** Seconds: a worker that is being replaced is back in less than Retry-After says. */
const SOON = 2;
/** What a reverse proxy says while the server behind it is started again. */
const GATEWAY = new Set([502, 504]);

/** The page cannot work here, whatever the user does. @param where {secure, webrtc} @returns {Problem|null} */
export function unsupported({ secure, webrtc }) {
  if (!webrtc) return { code: "no_webrtc", values: {}, fatal: true };
  return secure ? null : { code: "insecure_origin", values: {}, typing: true, secure: true, fatal: true };
}

const noDevice = ({ device, reason }) => {
  if (reason === "insecure") return { code: "insecure_origin", values: {}, typing: true, secure: true };
  const code = reason === "policy" ? "policy_blocked" : `${device}_${reason}`;
  return { code, values: {}, retry: AGAIN, typing: true };
};

/**
 * @param error of a device, of the server, or of the browser
 * @param facts {host, https, hasKey, reached: whether the server has ever answered this page}
 * @returns {Problem}
 */
export function explain(error, facts) {
  if (error?.name === "DeviceError") return noDevice(error); // of devices/media.js
  if (error instanceof Unreachable) {
    const code = facts.https && !facts.reached ? "cert_untrusted" : "server_unreachable";
    return { code, values: { host: facts.host }, retry: RECONNECT, lost: true, server: true };
  }
  if (error instanceof ApiError) return answered(error, facts);
  return { code: "browser_failed", values: {}, retry: AGAIN };
}

/** The server's own words, as sentences. */
const wordsOf = (error) => ({ message: sentence(error.message), code: error.code ?? `HTTP ${error.status}` });

function answered(error, facts) {
  const { status, code } = error;
  const values = { ...wordsOf(error), host: facts.host };
  if (status === 401) return needsKey(facts.hasKey);
  if (status === 403) return { code: "address_unknown", values, retry: AGAIN, server: true };
  if (code === "warming_up") return { code: "warming_up", values, retry: AGAIN, wait: error.retryAfterSeconds ?? 0, progress: error.progress };
  if (code === "worker_restarting") return { code: "warming_up", values, retry: AGAIN, wait: SOON };
  if (code === "server_full" || (code === "server_busy" && error.comesBack)) return { code: "server_full", values, retry: AGAIN, wait: error.retryAfterSeconds ?? 0 };
  if (status === 503 || status === 429) return { code: "server_busy", values, retry: AGAIN, passing: true };
  if (status >= 500) return { code: "server_failed", values, retry: AGAIN, passing: GATEWAY.has(status) };
  return { code: "sdp_rejected", values, retry: AGAIN };
}

/** @param hasKey one was tried */
export const needsKey = (hasKey) =>
  ({ code: hasKey ? "key_wrong" : "unauthorised", values: {}, askKey: true, server: true });

/** Codes for which it is worth waiting: a place becomes free, models arrive. */
export const isWorthWaiting = ({ code }) => code === "server_full" || code === "warming_up";

/**
 * A call is gone and stays so.
 * @param reason gone | no_path @param farewell what the server has said before it went; empty when it said nothing
 * @returns {Problem}
 */
export function lostProblem(reason, farewell = "", candidates = []) {
  if (reason === "no_path") return { code: "ice_failed", values: {}, retry: AGAIN, lost: true, candidates };
  if (farewell) return { code: "ended", values: { message: sentence(farewell) }, retry: "problem.start_again", lost: true };
  return { code: "lost", values: {}, retry: RECONNECT, lost: true };
}

/** A server that only stops may be started again; other farewells are meant. */
export const isMeant = (farewell) => Boolean(farewell) && !/shutting down|restart/i.test(farewell);

/** The server's words, which begin small and end open so that others can quote them, as a sentence. */
export const sentence = (words) =>
  words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");
