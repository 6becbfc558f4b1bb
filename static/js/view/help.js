// The help: which keys there are.

import { byId, h, icon } from "./dom.js";

/** Open or close it. @param keys rows of [key, what it does] */
export function toggle(t, keys) {
  const dialog = byId("help");
  if (dialog.open) {
    dialog.close();
    return;
  }
  const close = h("button", { class: "button icon quiet", type: "button", "aria-label": t("help.close"), onclick: () => dialog.close() },
    icon("close"));
  const rows = keys.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(what))]);
  dialog.replaceChildren(
    h("header", { class: "card-head" }, h("h2", { id: "help-title" }, t("help.title")), close),
    h("dl", { class: "keys" }, ...rows),
    h("p", { class: "fine" }, t("help.fine")),
  );
  dialog.onkeydown = (event) => {
    if (event.key === "?") dialog.close();
  };
  dialog.showModal();
}
