// What somebody who helps has to know: versions, states and the newest events; never a key, a word or a sound.

const MOST = 50;
const newest = [];

/** Remember what has happened, by its kind only. @param events with their time */
export function note(events) {
  for (const event of events) {
    if (event.type === "client.stats" || event.type === "client.talking") continue;
    const { type, at, event: sent, error, code, phase } = event;
    newest.push({ at_ms: Math.round(at), type: sent ? `sent ${sent.type}` : type,
      ...(error?.code ? { code: error.code } : {}), ...(code ? { code } : {}), ...(phase ? { phase } : {}) });
  }
  newest.splice(0, newest.length - MOST);
}

/** Remember what happens from here on. */
export function mount({ store }) {
  store.subscribe((_, events) => note(events));
}

/** @returns {object} @param state of the store @param peer RTCPeerConnection or null */
export function detailsOf(state, peer, browser) {
  const { call, devices, problems, engines } = state;
  return {
    page: browser.page, browser: browser.agent, languages: browser.languages, secure: browser.secure,
    server: engines.status ? { version: engines.status.version, ready: engines.status.ready } : null,
    problem: problems.problem?.code ?? null, candidates: problems.problem?.candidates ?? [],
    notices: problems.notices.map(({ code }) => code),
    call: { phase: call.phase, attempt: call.attempt, session_id: call.session_id, typing: call.typing, steps: call.steps },
    peer: peer ? { connection: peer.connectionState, ice: peer.iceConnectionState, signaling: peer.signalingState } : null,
    devices: { microphone: devices.microphone, muted: devices.muted, camera: devices.camera, camera_off: devices.cameraOff,
      counts: Object.fromEntries(Object.entries(devices.listed).map(([kind, list]) => [kind, list.length])) },
    engines: (engines.rows ?? []).map(({ stage, engine, ok }) => ({ stage, engine, ok })),
    events: newest,
  };
}

/** @returns whether they are in the clipboard */
export async function copyDetails(state, call) {
  const text = JSON.stringify(detailsOf(state, call.peer, {
    page: location.origin + location.pathname, agent: navigator.userAgent, languages: navigator.languages, secure: isSecureContext,
  }), null, 1);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text); // an address that is not secure has no clipboard
  }
}

function copyByHand(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "sr-only" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
