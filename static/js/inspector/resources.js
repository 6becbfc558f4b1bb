// Tab "Resources": what the server uses and how it fares, as curves and as a table of numbers in one.

import { fetchHistory } from "../call/api.js";
import { spoken } from "../i18n/index.js";
import { h } from "../view/dom.js";
import { OF_SERVER, OF_SESSION, pathOf, reading, rowsOf } from "./curves.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];
/** Seconds that are shown → between two values, and between two looks. */
const SPANS = { 600: [5, 5], 10800: [60, 30], 259200: [1440, 300] };
const GROUPS = ["session", "server", "latency", "errors", "engines"];

export function create({ store, t }) {
  const table = h("table", { id: "resource-table" }, h("caption", { class: "sr-only" }, t("resources.caption")), head(t));
  const note = h("p", { class: "empty", id: "resource-note" }, t("resources.empty"));
  const gpu = h("p", { class: "empty", id: "resource-gpu", hidden: true });
  const span = h("select", { id: "resource-span", class: "field", onchange: () => again() },
    ...Object.keys(SPANS).map((seconds) => h("option", { value: seconds }, t(`resources.span.${seconds}`))));
  const choice = h("div", { class: "tools" }, h("label", { for: "resource-span" }, t("resources.span")), span);
  const element = h("div", {}, choice, note, table, gpu);
  table.hidden = true;
  let timer = 0;
  let turn = 0; // a later look, or the tab's closing, makes an answer stale

  async function look(mine) {
    const [step] = SPANS[span.value];
    const session = store.state.call.session_id;
    const [own, all] = await Promise.all([session && ask(OF_SESSION, step, { session }), ask(OF_SERVER, step)]);
    if (mine !== turn) return;
    const rows = rowsOf({ series: [...own?.series ?? [], ...all.series] }, session);
    note.textContent = t("resources.empty");
    note.hidden = rows.length > 0;
    table.hidden = !rows.length;
    table.querySelectorAll("tbody").forEach((body) => body.remove());
    table.append(...GROUPS.map((group) => body(group, rows.filter((row) => row.group === group), t)).filter(Boolean));
    if (!rows.some(({ series }) => series.startsWith("visavis_gpu_"))) await tellGpu(mine);
  }

  const ask = (series, step, more = {}) => fetchHistory({ series: series.join(","), from: `-${span.value}`, step, ...more });

  async function tellGpu(mine) {
    if (gpu.textContent) return;
    const { gpu: why } = await fetchHistory({});
    if (mine !== turn || !why || why === "told") return;
    gpu.textContent = t("resources.no_gpu", { why });
    gpu.hidden = false;
  }

  function again() {
    clearTimeout(timer);
    const mine = ++turn;
    const next = () => look(mine).catch((error) => refused(error, mine)).finally(() => {
      if (mine === turn) timer = setTimeout(next, SPANS[span.value][1] * 1000);
    });
    next();
  }

  function refused(error, mine) {
    if (mine !== turn) return;
    note.hidden = false;
    note.textContent = t("resources.refused", { why: error.message });
  }

  return {
    element,
    open: again,
    close() {
      turn += 1;
      clearTimeout(timer);
    },
  };
}

const head = (t) => h("thead", {}, h("tr", {}, ...["what", "curve", "now", "peak"].map((name) =>
  h("th", { scope: "col" }, t(`resources.${name}`)))));

function body(group, rows, t) {
  if (!rows.length) return null;
  return h("tbody", {}, h("tr", {}, h("th", { scope: "rowgroup", colspan: "4" }, t(`resources.group.${group}`))),
    ...rows.map((row) => h("tr", { "data-series": row.series },
      h("th", { scope: "row", dir: "auto" }, nameOf(row, t)), h("td", {}, curve(row.values)),
      ...[row.now, row.peak].map((value) => h("td", {}, told(value, row.unit, t))))));
}

function nameOf({ series, what }, t) {
  if (series === "pipeline_stage_duration_ms") {
    const [, stage, worker = ""] = /^(.*?)( #\d+)?$/.exec(what);
    const name = t(`turns.part.${stage}`);
    if (name !== `turns.part.${stage}`) return name + worker;
  }
  const name = t(`resources.name.${series}`);
  return what ? t("resources.of", { name, what: what === "failed" ? "" : what }).trim() : name;
}

function told(value, unit, t) {
  const [number, key] = reading(value, unit);
  const digits = Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  return t(`resources.unit.${key}`, { value: new Intl.NumberFormat(spoken(), { maximumFractionDigits: digits }).format(number) });
}

function curve(values) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", pathOf(values, WIDTH, HEIGHT));
  svg.append(path);
  return svg;
}
