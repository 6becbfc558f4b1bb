// What stops everything, with the button that helps; and notices, which stop nothing.

import { wording } from "../i18n/index.js";
import { byId, h, icon, setText } from "./dom.js";

const TICK_MS = 250;
const DOCS = "docs/troubleshooting#";
/** Section of the documentation for problems that share one; the others have a section of their own. */
const SECTIONS = {
  unauthorised: "keys", key_wrong: "keys", address_unknown: "the-address-is-refused", server_full: "the-server-is-full",
  server_busy: "the-server-is-full", warming_up: "the-server-is-still-loading", sdp_rejected: "the-offer-is-refused",
  server_failed: "an-engine-fails", reconnecting: "lost",
};

/** Where a problem is explained at length. */
export const docsOf = (code) => DOCS + (SECTIONS[code] ?? code);

/** Title and text of a problem in the user's language. @param status the server's, as far as it is known */
export function wordsFor({ code, values, progress }, t) {
  const loading = (progress ?? []).map(({ engine, percent }) =>
    percent === null || percent === undefined ? t(`stage.${engine}`) : t("problem.loading", { stage: t(`stage.${engine}`), percent }));
  const holes = { ...values, loading: loading.join(", ") || t("problem.models") };
  return { title: t(`problem.${code}.title`, holes), text: t(`problem.${code}.text`, holes) };
}

/** Whole seconds left. @param until and @param now in ms */
export const secondsLeft = (until, now) => Math.max(0, Math.ceil((until - now) / 1000));

export function mount({ store, call, server, t }) {
  let shownProblem = null;
  let shownNotices = null;
  let said = 0;

  byId("retry").addEventListener("click", () => (["reconnecting", "waiting"].includes(store.state.call.phase)
    ? call.reconnect() : call.retry()));
  byId("stop-waiting").addEventListener("click", () => call.stop());
  byId("type-instead").addEventListener("click", () => {
    call.start({ typing: true });
    byId("composer-text").focus();
  });
  byId("copy-details").addEventListener("click", async () => {
    const { copyDetails } = await import("../call/details.js");
    setText(byId("copy-details"), t(await copyDetails(store.state, call) ? "problem.copied" : "problem.copy_failed"));
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    server.tryKey(byId("key").value.trim());
  });

  function renderProblem(problem, status) {
    if (problem === shownProblem && said === wording()) return;
    said = wording();
    if (problem === null) byId("key").value = ""; // accepted: it need not stand in its field any longer
    const other = problem?.code !== shownProblem?.code;
    const drawnAnew = problem === shownProblem; // with other words
    shownProblem = problem;
    byId("problem").hidden = problem === null;
    if (!problem) return;
    const { title, text } = wordsFor(problem, t);
    setText(byId("problem-title"), title);
    setText(byId("problem-text"), text);
    byId("problem").dataset.code = problem.code;
    byId("retry").hidden = !problem.retry || Boolean(problem.stop);
    setText(byId("retry"), problem.retry ? t(problem.retry) : "");
    byId("stop-waiting").hidden = !problem.stop;
    byId("type-instead").hidden = !problem.typing;
    byId("open-secure").hidden = !problem.secure;
    byId("open-secure").href = status?.https_url ?? `https://${location.host}/`;
    byId("ways").hidden = !problem.candidates?.length;
    byId("ways-list").replaceChildren(...(problem.candidates ?? []).map((way) => h("li", {}, way)));
    if (other) setText(byId("copy-details"), t("problem.copy"));
    byId("problem-docs").href = docsOf(problem.code);
    renderKey(problem, drawnAnew);
    count();
  }

  function renderKey(problem, drawnAnew) {
    byId("key-form").hidden = !problem.askKey;
    byId("use-key").disabled = Boolean(problem.checking);
    setText(byId("use-key"), t(problem.checking ? "key.checking" : "key.use"));
    if (!problem.askKey || problem.checking || drawnAnew) return;
    byId("key").focus();
    byId("key").select(); // a key that was refused stands there to be mended or typed anew
  }

  function count() {
    const until = shownProblem?.until;
    byId("problem-count").hidden = !until;
    if (!until) return;
    const seconds = secondsLeft(until, performance.now());
    setText(byId("problem-count"), seconds ? t("problem.again_in", { seconds }) : t("problem.trying"));
  }

  function renderNotices(notices) {
    if (notices === shownNotices) return;
    shownNotices = notices;
    byId("notices").replaceChildren(...notices.map(({ text, level, code, action }) => {
      const dismiss = h("button", { class: "button icon quiet", type: "button", "aria-label": t("notice.dismiss"), "data-t-label": "notice.dismiss",
        onclick: () => store.dispatch({ type: "client.dismissed", text }) }, icon("close"));
      const act = action && h("button", { class: "button small", type: "button", onclick: () => byId(action).click() },
        t(`notice.do.${action}`));
      return h("div", { class: `notice ${level}`, "data-code": code }, icon("warn"), h("p", {}, text), act, dismiss);
    }));
  }

  function render({ problems: { problem, notices }, engines: { status } }) {
    renderProblem(problem, status);
    renderNotices(notices);
  }

  store.subscribe(render);
  setInterval(count, TICK_MS);
  render(store.state);
}

/** What makes a notice of a code. @param level errors stay red */
export function createTell({ dispatch, t }) {
  return (code, values = {}) => dispatch({ type: "client.notice", code, level: LEVELS[code] ?? "info",
    action: ACTIONS[code] ?? null, text: t(`notice.${code}`, values) });
}

const LEVELS = { mic_lost: "error", screen_failed: "error" };
/** Buttons that help, by the id of the button of the page that does it. */
const ACTIONS = { mic_silent: "open-devices", mic_gone: "open-devices", camera_gone: "open-devices", muted_speaking: "mute" };
