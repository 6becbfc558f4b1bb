// What has gone wrong: one problem that stops everything, and notices beside the call.

import { HARMLESS } from "./call.js";

const MAX_NOTICES = 3;
const MAX_NOTICE_TEXT = 400;

const initial = {
  problem: null, // see call/refusals.js
  notices: [], // {text, level: info | error}
};

function notify(slice, words, level = "info") {
  const text = words.length > MAX_NOTICE_TEXT ? `${words.slice(0, MAX_NOTICE_TEXT)}…` : words;
  const others = slice.notices.filter((notice) => notice.text !== text);
  return { ...slice, notices: [...others, { text, level }].slice(-MAX_NOTICES) };
}

const handlers = {
  error: (slice, event) =>
    event.error?.code === "session_ended" || HARMLESS.has(event.error?.code)
      ? slice
      : notify(slice, event.error?.message ?? "The server reports an error.", "error"),
  "client.connecting": () => initial,
  "client.failed": (slice, event) => ({ ...slice, problem: event.problem }),
  "client.checking": (slice) => ({ ...slice, problem: slice.problem && { ...slice.problem, checking: true } }),
  "client.problem_solved": (slice) => ({ ...slice, problem: null }),
  "client.notice": (slice, event) => notify(slice, event.text, event.level),
  "client.dismissed": (slice, event) =>
    ({ ...slice, notices: slice.notices.filter((notice) => notice.text !== event.text) }),
};

export const problems = { initial, handlers };
