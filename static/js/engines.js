// The engines panel: what does which part of the work, where, and why.

import { icon, make } from "./transcript.js";

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export class EnginesView {
  #table = document.getElementById("engine-table");
  #summary = document.getElementById("engines-summary");
  #panel = document.getElementById("engines");
  #shown = null;
  #touched = false;

  constructor() {
    if (matchMedia("(max-height: 560px)").matches) this.#panel.open = false; // a phone held sideways has no room
    this.#panel.querySelector("summary").addEventListener("click", () => { this.#touched = true; });
  }

  render(state) {
    if (state.engines !== this.#shown) this.#fill(state.engines);
    if (!state.engines && state.enginesAsked) this.#summary.textContent = "not known";
    // Room for the conversation once there is one, unless the user has decided otherwise.
    if (!this.#touched && state.phase === "connected") this.#panel.open = false;
  }

  #fill(engines) {
    this.#shown = engines;
    this.#table.querySelectorAll("tbody").forEach((body) => body.remove());
    this.#table.append(...engines.map(engineRows));
    this.#table.parentElement.hidden = !engines.length;
    this.#summary.replaceChildren(...summary(engines));
  }
}

/** What a row says of its stage: it runs as it should, on something else than was asked for, or not at all. */
const standing = ({ engine, ok }) => (ok !== false ? "running" : engine && engine !== "none" ? "stand-in" : "missing");

function summary(engines) {
  const count = (what) => engines.filter((row) => standing(row) === what).length;
  const parts = [`${count("running")} running`];
  if (count("stand-in")) parts.push(warning(`${count("stand-in")} standing in`));
  if (count("missing")) parts.push(warning(`${count("missing")} missing`));
  return parts;
}

const warning = (text) => make("span", "badge warn", icon("warn"), text);

/** One engine is a group of two rows, so that a long reason has the width of both columns. */
function engineRows(row) {
  const { stage, engine, device, wanted } = row;
  const how = standing(row);
  const instead = how === "stand-in" && wanted ? `Stands in for ${wanted}` : "";
  const reason = [instead, row.reason].filter(Boolean).join(": ");
  const stageCell = make("th", "", capital(stage ?? ""));
  stageCell.scope = "rowgroup";
  stageCell.rowSpan = reason ? 2 : 1;
  const name = make("td", "engine", engine || "none", how === "stand-in" ? " " : null,
    how === "stand-in" ? warning("stand-in") : null);
  const where = make("td", "", how === "missing" ? warning("missing") : make("span", "badge", device || "unknown"));
  const rows = [make("tr", "", stageCell, name, where)];
  if (reason) {
    const why = make("td", "reason", reason);
    why.colSpan = 2;
    rows.push(make("tr", "", why));
  }
  return make("tbody", how, ...rows);
}
