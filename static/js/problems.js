// Why something did not work, in words that say what to do about it.

import { ApiError, Unreachable } from "./api.js";
import { NoMicrophone } from "./devices.js";

/**
 * @typedef {object} Problem
 * @property {string} kind
 * @property {string} title
 * @property {string} text
 * @property {string} [retry] label of the button that tries again
 * @property {boolean} [typing] offer to go on by typing
 * @property {boolean} [askKey] show the field for the server's key
 * @property {boolean} [lost] a connection was there and is gone
 */

const MICROPHONE = {
  insecure: () => ({
    title: "This address may not use the microphone",
    text: "Browsers give a page the microphone and the camera only over HTTPS, or on the machine itself. "
      + `Open https://${location.host} (start the server with TLS), or http://localhost on the server’s own machine.`,
    typing: true,
  }),
  denied: () => ({
    title: "The microphone is blocked",
    text: "Allow the microphone for this page: click the icon left of the address, set Microphone to Allow, "
      + "then try again. If it is allowed there, look in the privacy settings of your system.",
    retry: "Try again", typing: true,
  }),
  missing: () => ({
    title: "No microphone was found",
    text: "Plug one in or switch it on, then try again.",
    retry: "Try again", typing: true,
  }),
  busy: () => ({
    title: "The microphone does not start",
    text: "Another program may be holding it. Close that program, or unplug the microphone and plug it in, "
      + "then try again.",
    retry: "Try again", typing: true,
  }),
};

const LOST = {
  gone: {
    title: "The connection to the server is gone",
    text: "The server was stopped, or the network between here and there is down. "
      + "Your microphone and camera have been switched off.",
    retry: "Reconnect",
  },
  "no-path": {
    title: "The server answers, but no sound gets through",
    text: "The page reached the server, but the two could not exchange sound over UDP. "
      + "A firewall or a VPN between here and there may be in the way.",
    retry: "Try again",
  },
};

/** @returns {Problem} */
export const lostProblem = (reason) => ({ kind: reason, lost: true, ...LOST[reason] });

/** @returns {Problem} */
export function explain(error) {
  if (error instanceof NoMicrophone) return { kind: `microphone-${error.reason}`, ...MICROPHONE[error.reason]() };
  if (error instanceof Unreachable) {
    return {
      kind: "unreachable", title: "The server does not answer",
      text: `Nothing answers at ${location.host}. Is the server running, and are you on the same network?`,
      retry: "Reconnect", lost: true,
    };
  }
  if (error instanceof ApiError) return explainAnswer(error);
  return { kind: "browser", title: "This browser could not start the call", text: error.message, retry: "Try again" };
}

function explainAnswer({ status, message, retryAfterSeconds }) {
  if (status === 401) {
    return { kind: "key", title: "This server asks for a key", text: "Its operator has set one. "
      + "It is kept for this tab only.", askKey: true };
  }
  if (status === 403) { // the name in the address bar is not one that the server goes by
    return { kind: "address", title: "The server does not know this address", text: message, retry: "Try again" };
  }
  if (status === 503) {
    const wait = retryAfterSeconds ? ` Try again in about ${retryAfterSeconds} s.` : "";
    return { kind: "full", title: "The server has no room just now", text: message + wait, retry: "Try again" };
  }
  return { kind: "refused", title: "The server refused the call", text: message, retry: "Try again" };
}
