// What has gone wrong: one problem that stops everything, and notices beside the call.

import { HARMLESS } from "./call.js";

const MAX_NOTICES = 3;
const MAX_NOTICE_TEXT = 400;
/** Its button is that of the page: once the microphone is on again, it would switch it off. */
const MUTED = "muted_speaking";

const initial = {
  problem: null, // see call/refusals.js; `until` (ms) is when it is tried again by itself
  notices: [], // {text, level: info | error, code, action}
};

function notify(slice, words, level = "info", more = {}) {
  const text = words.length > MAX_NOTICE_TEXT ? `${words.slice(0, MAX_NOTICE_TEXT)}…` : words;
  const others = slice.notices.filter((notice) => notice.text !== text);
  return { ...slice, notices: [...others, { text, level, ...more }].slice(-MAX_NOTICES) };
}

/** It is not so any more. */
const withoutNotice = (slice, code) => ({ ...slice, notices: slice.notices.filter((notice) => notice.code !== code) });

const handlers = {
  error: (slice, event) =>
    event.error?.code === "session_ended" || HARMLESS.has(event.error?.code)
      ? slice
      : notify(slice, event.error?.message ?? event.error?.code ?? event.type, "error"),
  "client.connecting": () => initial,
  "client.connected": (slice) => ({ ...slice, problem: null }),
  "client.stopped": (slice) => ({ ...withoutNotice(slice, MUTED), problem: null }),
  "client.muted": (slice, { muted }) => (muted ? slice : withoutNotice(slice, MUTED)),
  "client.failed": (slice, event) => ({ ...slice, problem: event.problem }),
  "client.waiting": (slice, event) => ({ ...slice, problem: { ...event.problem, until: event.until, stop: true } }),
  "client.reconnecting": (slice, { attempt, tries, until }) =>
    ({ ...slice, problem: { code: "reconnecting", values: { attempt, tries }, until, retry: "problem.try_now" } }),
  "client.checking": (slice) => ({ ...slice, problem: slice.problem && { ...slice.problem, checking: true } }),
  "client.problem_solved": (slice) => (slice.problem?.server ? { ...slice, problem: null } : slice),
  "client.notice": (slice, { text, level, code = null, action = null }) => notify(slice, text, level, { code, action }),
  "client.dismissed": (slice, event) =>
    ({ ...slice, notices: slice.notices.filter((notice) => notice.text !== event.text) }),
};

export const problems = { initial, handlers };
