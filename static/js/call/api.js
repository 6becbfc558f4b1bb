// The server over HTTP: how it is, and the exchange of session descriptions.
// Addresses are relative, so the page also works behind a reverse proxy that gives it a path of its own.

const STORED_KEY = "visavis.key";
/** A server that takes so long to begin its answer stands still: its system accepts connections all the same. */
const ANSWER_LIMIT_MS = 20000;
let key = null;
let reached = false;

/** The server answered with an error. `status` is HTTP's, `code` and `message` are the server's own words. */
export class ApiError extends Error {
  constructor(status, { message, code, retry_after: seconds, progress } = {}, retryAfterSeconds = null) {
    super(message || `status ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = code ?? null;
    this.retryAfterSeconds = Number.isFinite(seconds) ? seconds : retryAfterSeconds;
    this.comesBack = Number.isFinite(seconds); // the server has said itself when to ask again
    this.progress = Array.isArray(progress) ? progress : [];
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {
  constructor(cause) {
    super("The server does not answer.", { cause });
    this.name = "Unreachable";
  }
}

/** Keep the server's key for this tab. */
export function useKey(value) {
  key = value;
  try {
    sessionStorage.setItem(STORED_KEY, value);
  } catch {
    // Storage may be forbidden; the key then lasts until the page is left.
  }
}

/** Take the key from `#key=…`, and out of the address bar and the history. @returns whether there was one. */
export function takeKeyFromAddress() {
  const found = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (!found) return false;
  try {
    useKey(decodeURIComponent(found[1]));
  } catch {
    useKey(found[1]); // a stray per cent sign: take it as it stands
  }
  const rest = location.hash.slice(1).split("&").filter((part) => !part.startsWith("key=")).join("&");
  history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`)); // the rest is for settings/share.js
  return true;
}

/** Whether requests carry a key. */
export const hasKey = () => Boolean(storedKey());

/** What explains a refusal (see call/refusals.js). */
export const facts = () =>
  ({ host: location.host, https: location.protocol === "https:", hasKey: hasKey(), reached });

function storedKey() {
  try {
    key ??= sessionStorage.getItem(STORED_KEY);
  } catch {
    // see useKey
  }
  return key;
}

async function request(path, { headers, read = (response) => response.json(), limit = ANSWER_LIMIT_MS, ...options } = {}) {
  const bearer = storedKey();
  let response;
  try {
    response = await answered(path, limit, {
      ...options,
      headers: { ...headers, ...(bearer ? { Authorization: `Bearer ${bearer}` } : {}) },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable(error);
  }
  reached = true;
  const body = await (response.ok ? read(response) : response.json()).catch(() => null);
  if (response.ok && body !== null) return body;
  const retryAfter = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new ApiError(response.status, body?.error ?? {}, Number.isNaN(retryAfter) ? null : retryAfter);
}

/** A response when it begins. Rejects after `limit` ms, if there is a limit, and when `signal` is aborted, as fetch does. */
async function answered(path, limit, { signal, ...options }) {
  if (!limit) return fetch(path, { ...options, signal }); // again and again with the same signal, which keeps its listeners
  const ending = new AbortController();
  const end = () => ending.abort(signal.reason);
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end);
  const timer = setTimeout(() => ending.abort(new Error(`no answer after ${limit} ms`)), limit);
  try {
    return await fetch(path, { ...options, signal: ending.signal });
  } finally {
    clearTimeout(timer);
  }
}

/** How the server is (`GET /v1/status`): without the key only {name, version, auth_required, ready}. */
export const fetchStatus = () => request("v1/status", { cache: "no-store" });

/** What the server used and how it fared. @param query {series, from, step}; without series which there are */
export const fetchHistory = (query) => request(`v1/history?${new URLSearchParams(query)}`, { cache: "no-store" });

/** @returns RTCIceServers: STUN and TURN servers with credentials for this page; none on most servers */
export const fetchIceServers = async (signal) =>
  (await request("v1/realtime/ice_servers", { cache: "no-store", signal })).ice_servers ?? [];

/** Make a call. @param body {sdp, type: "offer", resume?, pipeline?} @returns {sdp, type, session_id, resumed, watched} */
export const openCall = (body, signal) =>
  request("offer", { method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** Wait for news of the process that a session lives in. @returns {state: serving | leaving | gone, again_in} */
export const fetchWatch = (session, signal) =>
  request(`v1/sessions/${encodeURIComponent(session)}/watch`, { cache: "no-store", signal, limit: null }); // none for a while is news

/** The page is being left: say so even when nothing else gets out any more. */
export function hangUp(session) {
  const bearer = storedKey();
  fetch(`v1/realtime/calls/${encodeURIComponent(session)}/hangup`, { method: "POST", keepalive: true,
    headers: bearer ? { Authorization: `Bearer ${bearer}` } : {} }).catch(() => {});
}

/** @returns {session_id, state, seconds, files: [{name, bytes, type, url}]} */
export const fetchRecording = (session) => request(recordingOf(session), { cache: "no-store" });

/** One file of a recording. @returns {Promise<Blob>} */
export const fetchRecordingFile = (url) => request(url, { read: (response) => response.blob() });

export const deleteRecording = (session) =>
  request(recordingOf(session), { method: "DELETE", read: (response) => response.text() });

const recordingOf = (session) => `v1/sessions/${encodeURIComponent(session)}/recording`;
