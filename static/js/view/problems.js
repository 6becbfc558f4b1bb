// What stops everything, with the button that helps; and notices, which stop nothing.

import { byId, h, icon } from "./dom.js";

export function mount({ store, call, server, t }) {
  let shownProblem = null;
  let shownNotices = null;
  byId("retry").addEventListener("click", () => call.retry());
  byId("type-instead").addEventListener("click", () => {
    call.start({ typing: true });
    byId("composer-text").focus();
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    server.tryKey(byId("key").value.trim());
  });

  function renderProblem(problem) {
    if (problem === shownProblem) return;
    if (problem === null) byId("key").value = ""; // accepted: it need not stand in its field any longer
    shownProblem = problem;
    byId("problem").hidden = problem === null;
    if (!problem) return;
    byId("problem-title").textContent = problem.title;
    byId("problem-text").textContent = problem.text;
    byId("retry").hidden = !problem.retry;
    byId("retry").textContent = problem.retry ?? "";
    byId("type-instead").hidden = !problem.typing;
    byId("key-form").hidden = !problem.askKey;
    byId("use-key").disabled = Boolean(problem.checking);
    byId("use-key").textContent = t(problem.checking ? "key.checking" : "key.use");
    if (problem.askKey && !problem.checking) {
      byId("key").focus();
      byId("key").select(); // a key that was refused stands there to be mended or typed anew
    }
  }

  function renderNotices(notices) {
    if (notices === shownNotices) return;
    shownNotices = notices;
    byId("notices").replaceChildren(...notices.map(({ text, level }) => {
      const dismiss = h("button", { class: "button icon quiet", type: "button", "aria-label": t("notice.dismiss"),
        onclick: () => store.dispatch({ type: "client.dismissed", text }) }, icon("close"));
      return h("div", { class: `notice ${level}` }, icon("warn"), h("p", {}, text), dismiss);
    }));
  }

  function render({ problems: { problem, notices } }) {
    renderProblem(problem);
    renderNotices(notices);
  }

  store.subscribe(render);
  render(store.state);
}
