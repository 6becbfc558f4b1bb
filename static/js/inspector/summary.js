// The engines in two lines, for those who only want to talk: how good ears, brain and voice are and how to better them,
// and what better is on its way. The table is in the inspector.

import { arrivals, levelsOf, newsOf, troubleOf } from "../state/engines.js";
import { byId, h, setText } from "../view/dom.js";

const TICK_MS = 500;

/** @param inspect opens a tab of the inspector */
export function mount({ store, t, inspect }) {
  byId("engines-open").addEventListener("click", () => inspect("engines"));

  function renderNews() {
    const { engines } = store.state;
    const line = [...newsOf(engines, performance.now()).map((row) => nowWith(row, t)), comingLine(engines.rows, t)]
      .filter(Boolean).join(". ");
    byId("fetching").hidden = !line;
    setText(byId("fetching"), line);
  }

  store.subscribe(({ engines }) => {
    setWhole(byId("quality"), qualityLine(engines, t));
    renderNews();
  });
  setInterval(renderNews, TICK_MS); // news grow old by themselves
}

/** A text whose flags (`--llm-url`) are not broken at their hyphens. */
function setWhole(element, text) {
  if (element.textContent === text) return;
  element.replaceChildren(...text.split(/(--[\w-]+)/).map((part) =>
    (part.startsWith("--") ? h("span", { class: "whole" }, part) : part)));
}

const known = (key, t, values) => (t(key) === key ? "" : t(key, values));
const nowWith = ({ stage, engine }, t) => known(`engines.now.${stage}`, t, { engine });

function comingLine(rows, t) {
  const list = arrivals(rows).map(({ stage, model, percent }) => t("engines.better", {
    thing: known(`engines.thing.${stage}`, t) || stage, model, percent: percent === null ? "…" : `${percent} %` }));
  return list.length ? t("engines.on_its_way", { list: list.join(", ") }) : "";
}

/** "Ears: basic · Brain: good · Voice: best · how to better them"; of a server that does not judge itself, what runs. */
function qualityLine({ rows, status, asked }, t) {
  const levels = levelsOf(status?.quality);
  if (levels.length) {
    const parts = levels.map(([stage, level]) => t("quality.one", { part: t(`quality.${stage}`), level: t(`quality.${level}`) }));
    return [...parts, status.quality.advice].filter(Boolean).join(" · ");
  }
  if (!rows) return asked ? t("engines.unknown") : "";
  const counts = new Map();
  for (const row of rows) counts.set(troubleOf(row), (counts.get(troubleOf(row)) ?? 0) + 1);
  const parts = [t("engines.count", { count: counts.get("") ?? 0 })];
  for (const [trouble, count] of counts) {
    if (trouble) parts.push(t("engines.count_troubled", { count, trouble: t(`engines.${trouble}`) }));
  }
  return parts.join(" · ");
}
