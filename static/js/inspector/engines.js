// Tab "Engines": what does which part of the work, where, why, and what better is on its way.

import { failuresOf, progressOf, troubleOf } from "../state/engines.js";
import { h } from "../view/dom.js";

export function create({ t }) {
  const better = h("p", { class: "advice", id: "engine-advice" });
  const table = h("table", { id: "engine-table" },
    h("caption", { class: "sr-only" }, t("engines.caption")),
    h("thead", {}, h("tr", {}, ...["stage", "engine", "device"].map((name) =>
      h("th", { scope: "col" }, t(`engines.${name}`))))));
  const empty = h("p", { class: "empty" }, t("engines.unknown"));
  const element = h("div", {}, better, empty, table);
  let drawn = null;

  return {
    element,
    render({ engines: { rows, status } }) {
      const { quality } = status ?? {};
      better.textContent = quality?.advice ?? "";
      better.hidden = !quality?.advice;
      if (rows === drawn) return;
      drawn = rows;
      empty.hidden = Boolean(rows?.length);
      table.hidden = !rows?.length;
      table.querySelectorAll("tbody").forEach((body) => body.remove());
      table.append(...(rows ?? []).map((row) => rowsOf(row, t)));
    },
  };
}

const stageName = (stage, t) => {
  const words = t(`engines.stage.${stage}`);
  return words === `engines.stage.${stage}` ? stage : words;
};

/** One engine is a group of rows, so that a long reason has the width of both columns. */
function rowsOf(row, t) {
  const { stage, engine, device, wanted, reason: why = "" } = row;
  const trouble = troubleOf(row);
  const known = wanted && !why.includes(wanted) ? t("engines.stands_in", { wanted, why }) : why;
  const reason = [known, ...failuresOf(row)].filter(Boolean).join("; ");
  const percent = progressOf(row);
  const notes = [
    reason && h("tr", {}, h("td", { class: "reason", colspan: "2", dir: "auto" }, reason)),
    percent === undefined ? null : h("tr", {}, h("td", { class: "reason", colspan: "2" }, progress(row, percent, t))),
  ].filter(Boolean);
  const badge = trouble && h("span", { class: "badge warn" }, t(`engines.${trouble}`));
  const name = h("td", { class: "engine", dir: "auto" }, engine || t("engines.none"));
  if (trouble === "stand_in") name.append(" ", badge);
  const where = trouble && trouble !== "stand_in" ? badge : h("span", { class: "badge" }, device || t("engines.somewhere"));
  const title = h("th", { scope: "rowgroup", rowspan: String(1 + notes.length) }, stageName(stage, t));
  return h("tbody", { class: trouble ? "troubled" : "" }, h("tr", {}, title, name, h("td", {}, where)), ...notes);
}

function progress({ fetching }, percent, t) {
  const model = fetching.find(({ state }) => state === "fetching" || state === "arrived")?.model ?? "";
  const bar = h("progress", percent === null ? {} : { max: "100", value: String(percent) });
  const words = t(percent === null ? "engines.coming" : "engines.coming_percent", { model, percent: percent ?? 0 });
  bar.setAttribute("aria-label", words);
  return h("span", { class: "coming" }, bar, " ", words);
}
