// Tab "Turns": how long each answer took and where the time went, newest first.

import { h } from "../view/dom.js";
import { spread, waterfall } from "./waterfall.js";

/** Turns that are drawn. */
const SHOWN = 60;

export function create({ t }) {
  const summary = h("p", { class: "figures" });
  const list = h("ol", { class: "waterfalls", reversed: true });
  const empty = h("p", { class: "empty" }, t("turns.empty"));
  const element = h("div", {}, summary, legend(t), empty, list);
  let drawn = null;

  return {
    element,
    render({ latency }) {
      const turns = latency.turns.slice(-SHOWN);
      if (latency.turns === drawn) return;
      drawn = latency.turns;
      empty.hidden = turns.length > 0;
      summary.replaceChildren(...totals(turns, t));
      list.replaceChildren(...[...turns].reverse().map((turn) => row(turn, t)));
    },
  };
}

const ms = (value, t) => t("turns.ms", { value: Math.round(value) });

function totals(turns, t) {
  const server = spread(turns.map((turn) => turn.voice_to_voice_ms));
  const ear = spread(turns.map((turn) => turn.heard_ms));
  const line = (name, found) => found && h("span", {}, t(`turns.${name}`, {
    count: found.count, median: Math.round(found.median), p95: Math.round(found.p95) }));
  return [line("server_spread", server), line("ear_spread", ear)].filter(Boolean);
}

function legend(t) {
  const names = ["endpoint", "transcript", "first_token", "first_clause", "first_audio", "saved", "way"];
  return h("ul", { class: "legend" }, ...names.map((name) =>
    h("li", {}, h("i", { class: `swatch ${name}`, "aria-hidden": "true" }), t(`turns.part.${name}`))));
}

const nameOf = (name, t) => {
  const key = `turns.part.${name}`;
  const words = t(key);
  return words === key ? name.replaceAll("_", " ") : words; // a part that a newer server tells
};

function row(turn, t) {
  const { total, saved, heard, way, sums, bars } = waterfall(turn);
  const picture = h("div", { class: "bars", "aria-hidden": "true" }, ...bars.map((bar) => {
    const piece = h("i", { class: `${bar.kind} ${bar.name}`, title: `${nameOf(bar.name, t)}: ${ms(bar.ms, t)}` });
    piece.style.setProperty("--from", bar.from.toFixed(4));
    piece.style.setProperty("--share", bar.share.toFixed(4));
    return piece;
  }));
  const parts = h("dl", { class: "parts" }, ...bars.flatMap((bar) =>
    [h("dt", {}, nameOf(bar.name, t)), h("dd", {}, ms(bar.ms, t))]));
  const facts = [
    h("b", {}, ms(total, t)),
    heard === null ? null : h("span", {}, t("turns.heard", { value: Math.round(heard), way: Math.round(way) })),
    saved > 0 ? h("span", {}, t("turns.saved", { value: Math.round(saved) })) : null,
    sums ? null : h("span", { class: "warn" }, t("turns.rest")),
  ].filter(Boolean);
  return h("li", { class: "waterfall" },
    h("details", {}, h("summary", {}, h("span", { class: "facts" }, ...facts), picture), parts));
}
