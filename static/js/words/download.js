// The conversation to take along: its words as a file, and its sound where the server may record.

import { transcriptOf, visibleEntries } from "../state/words.js";
import { recordedSeconds } from "../state/session.js";
import { h } from "../view/dom.js";

const EVERY_MS = 1000;

/** @param api {fetchRecording(session), fetchRecordingFile(url), deleteRecording(session)} */
export function mount({ store, call, root, t, api }) {
  const begun = { wall: 0, clock: 0 }; // when the oldest words were said
  const badge = h("p", { class: "recording", id: "recording", role: "status", hidden: true });
  const notice = h("p", { id: "recording-why", hidden: true });
  const video = h("input", { type: "checkbox", id: "record-video" });
  const record = h("button", { type: "button", id: "record", "aria-pressed": "false", onclick: toggle });
  const files = h("div", { id: "recorded-files" });
  const recorder = h("div", { id: "recorder", hidden: true },
    h("p", { "data-t": "recording.consent" }, t("recording.consent")), record,
    h("label", { class: "switch" }, video, h("span", { "data-t": "recording.video" }, t("recording.video"))), notice, files);
  const save = ["md", "json", "vtt"].map((kind) => h("button", { type: "button", id: `save-${kind}`, onclick: () => keep(kind) },
    h("span", { "data-t": `download.${kind}` }, t(`download.${kind}`)), h("small", {}, `.${kind}`)));
  const menu = h("details", { class: "files", id: "files" },
    h("summary", { class: "button quiet", "data-t": "download.title" }, t("download.title")),
    h("div", { class: "menu" }, ...save, recorder));
  root.append(badge, menu);
  let timer = 0;
  let listed = ""; // sessions whose files are shown

  async function keep(kind) {
    const { FORMATS, nameOf, save: hand } = await import("./export.js");
    const heading = headingOf(store.state, begun, t);
    const lines = visibleEntries(store.state.words).map((entry) => lineOf(entry, t));
    hand(nameOf(heading, kind), FORMATS[kind].type, FORMATS[kind].write(lines, heading));
    menu.open = false;
  }

  function toggle() {
    const enabled = !store.state.recording.on;
    call.send({ type: "session.update", session: { type: "realtime", recording: { enabled, video: enabled && video.checked } } });
  }

  /** What is there of the recording in all sessions of the conversation, once it has stopped: each file can be saved,
   * all of it can be deleted. */
  async function list() {
    const mine = listed;
    const asked = store.state.recording.sessions.map((session) => api.fetchRecording(session).catch(() => null));
    const found = (await Promise.all(asked)).filter(Boolean); // 404: nothing was kept
    if (mine !== listed) return;
    const rows = found.flatMap((one) => one.files).map((file) => h("button", { type: "button", onclick: () => fetchFile(file) },
      h("span", { dir: "auto" }, file.name), h("small", {}, sizeOf(file.bytes))));
    const remove = h("button", { type: "button", id: "delete-recording", onclick: forget, "data-t": "recording.delete" }, t("recording.delete"));
    files.replaceChildren(...rows, ...(rows.length && found.every(({ state }) => state === "done") ? [remove] : []));
  }

  async function fetchFile(file) {
    const { save: hand } = await import("./export.js");
    const blob = await api.fetchRecordingFile(file.url).catch(() => null);
    if (blob) hand(file.name, file.type, blob);
    else tell(t("recording.gone"));
  }

  async function forget() {
    const done = await Promise.allSettled(store.state.recording.sessions.map((session) => api.deleteRecording(session)));
    if (done.every(({ status }) => status === "fulfilled")) return void files.replaceChildren();
    await list();
    tell(t("recording.gone"));
  }

  function tell(words) {
    notice.textContent = words;
    notice.hidden = !words;
  }

  function tick() {
    const seconds = Math.floor(recordedSeconds(store.state.recording, performance.now()));
    badge.replaceChildren(h("i", { class: "recording-dot", "aria-hidden": "true" }),
      t("recording.on", { time: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` }));
  }

  function render({ recording, engines, call: { phase }, words }) {
    const talked = transcriptOf(words).length > 0;
    save.forEach((button) => { button.disabled = !talked; });
    const allowed = Boolean(engines.status?.recording?.allowed);
    recorder.hidden = !allowed && !recording.sessions.length;
    record.hidden = !allowed;
    record.disabled = phase !== "connected";
    video.disabled = recording.on;
    record.setAttribute("aria-pressed", String(recording.on));
    record.replaceChildren(h("span", {}, t(recording.on ? "recording.stop" : "recording.start")));
    badge.hidden = !recording.on;
    tell(recording.reason && recording.reason !== "asked" ? t(`recording.reason.${recording.reason}`) : "");
    if (recording.on && !timer) timer = setInterval(tick, EVERY_MS);
    if (recording.on) tick();
    if (!recording.on && timer) timer = clearInterval(timer) ?? 0;
    const there = ["connected", "idle", "lost"].includes(phase); // a server that is being looked for tells nothing
    const kept = recording.on || !there ? "" : recording.sessions.join();
    if (kept !== listed) {
      listed = kept;
      files.replaceChildren();
      if (kept) list();
    }
  }

  let drawn = {};
  store.subscribe((state, events) => {
    if (events?.some(({ type }) => type === "client.connected") && !begun.wall) {
      Object.assign(begun, { wall: Date.now(), clock: performance.now() });
    }
    const same = ["recording", "engines", "call", "words", "settings"].every((name) => state[name] === drawn[name]);
    drawn = state;
    if (!same) render(state);
  });
  render(store.state);
  document.addEventListener("click", (event) => {
    if (!event.composedPath().includes(menu)) menu.open = false; // what was clicked may have been drawn anew since
  });
  return { render };
}

function headingOf(state, begun, t) {
  const start = begun.clock || performance.now();
  return {
    title: t("download.heading"), start, origin: (begun.wall || Date.now()) - start, session: state.recording.session,
    names: { user: t("words.user"), assistant: t("words.assistant"), tool: t("tool.title"), unheard: t("words.unheard") },
  };
}

/** An entry as the files want it. */
function lineOf(entry, t) {
  const { role, text, unheard, interrupted, failed, from, to, words, tool, note, code } = entry;
  const said = tool ? `${tool.name}(${tool.arguments})${tool.output === null ? "" : ` → ${tool.output}`}`
    : role === "note" ? t(`words.note.${note}`)
      : role === "failure" ? t("words.failed_code", { why: text, code }) : text;
  const kind = role === "failure" ? "note" : role;
  return { role: kind, text: said, unheard, interrupted, failed: failed || role === "failure", from, to, words };
}

function sizeOf(bytes) {
  if (bytes < 1_000_000) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
