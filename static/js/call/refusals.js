// Why something did not work, in words that say what to do about it.

import { ApiError, Unreachable, hasKey } from "./api.js";
import { NoMicrophone } from "../devices/media.js";

/**
 * @typedef {object} Problem
 * @property {string} kind
 * @property {string} title
 * @property {string} text
 * @property {string} [retry] label of the button that tries again
 * @property {boolean} [typing] offer to go on by typing
 * @property {boolean} [askKey] show the field for the server's key
 * @property {boolean} [checking] the key is being tried
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

/**
 * @param reason gone | no-path
 * @param farewell what the server has said before it went; empty when it went without a word
 * @returns {Problem}
 */
export function lostProblem(reason, farewell = "") {
  if (!farewell) return { kind: reason, lost: true, ...LOST[reason] };
  return {
    kind: "ended", lost: true, title: "The server has ended the call",
    text: `${sentence(farewell)} Your microphone and camera have been switched off.`, retry: "Reconnect",
  };
}

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

const KEY = {
  none: {
    title: "This server asks for a key",
    text: "Its operator has set one. It is kept for this tab only.",
  },
  wrong: {
    title: "The server does not accept this key",
    text: "Look for a missing letter or one too many, or ask the server’s operator for the key.",
  },
};

function explainAnswer({ status, message, retryAfterSeconds }) {
  const text = sentence(message);
  const wait = retryAfterSeconds ? ` Try again in about ${retryAfterSeconds} s.` : "";
  if (status === 401) return { kind: "key", ...(hasKey() ? KEY.wrong : KEY.none), askKey: true };
  if (status === 403) { // the name in the address bar is not one that the server goes by
    return { kind: "address", title: "The server does not know this address", text, retry: "Try again" };
  }
  if (status === 503 || status === 429) {
    return { kind: "full", title: "The server takes no call just now", text: text + wait, retry: "Try again" };
  }
  if (status >= 500) return { kind: "failed", title: "The server failed to take the call", text, retry: "Try again" };
  return { kind: "refused", title: "The server refused the call", text, retry: "Try again" };
}

/** The server's words, which begin small and end open so that others can quote them, as a sentence. */
export const sentence = (words) =>
  words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");
