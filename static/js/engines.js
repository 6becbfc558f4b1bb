// The engines panel: what does which part of the work, where, and why.

import { failures, titleOf } from "./fetching.js";
import { icon, make } from "./transcript.js";

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

/** What is wrong with a row, in words for its badge; empty when the stage runs as it should. */
function trouble({ engine, ok, wanted }) {
  if (ok !== false) return "";
  if (wanted) return "stand-in";
  return engine && engine !== "none" ? "not working" : "missing";
}

function summary(engines) {
  const counts = Map.groupBy(engines, trouble);
  const parts = [`${counts.get("")?.length ?? 0} running`];
  for (const [what, rows] of counts) {
    if (what) parts.push(warning(`${rows.length} ${what}`));
  }
  return parts;
}

const warning = (text) => make("span", "badge warn", icon("warn"), text);

/** One engine is a group of two rows, so that a long reason has the width of both columns. */
function engineRows(row) {
  const { stage, engine, device, wanted, reason: why = "" } = row;
  const badge = trouble(row);
  const known = wanted && !why.includes(wanted) ? `Stands in for ${wanted}: ${why}` : why;
  const reason = [known, failures(row)].filter(Boolean).join("; ");
  const stageCell = make("th", "", titleOf(stage));
  stageCell.scope = "rowgroup";
  stageCell.rowSpan = reason ? 2 : 1;
  const name = make("td", "engine", engine || "none");
  if (badge === "stand-in") name.append(" ", warning(badge));
  const where = badge && badge !== "stand-in" ? warning(badge) : make("span", "badge", device || "unknown");
  const rows = [make("tr", "", stageCell, name, make("td", "", where))];
  if (reason) {
    const cell = make("td", "reason", reason);
    cell.colSpan = 2;
    rows.push(make("tr", "", cell));
  }
  return make("tbody", badge && "troubled", ...rows);
}
