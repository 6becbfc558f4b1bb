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

function summary(engines) {
  const missing = engines.filter((row) => row.ok === false).length;
  const running = engines.length - missing;
  const parts = [`${running} running`];
  if (missing) parts.push(make("span", "badge warn", icon("warn"), `${missing} missing`));
  return parts;
}

/** One engine is a group of two rows, so that a long reason has the width of both columns. */
function engineRows({ stage, engine, device, reason, ok }) {
  const missing = ok === false;
  const stageCell = make("th", "", capital(stage ?? ""));
  stageCell.scope = "rowgroup";
  stageCell.rowSpan = reason ? 2 : 1;
  const name = make("td", "engine", engine || "none");
  const where = make("td", "", missing
    ? make("span", "badge warn", icon("warn"), "missing")
    : make("span", "badge", device || "unknown"));
  const rows = [make("tr", "", stageCell, name, where)];
  if (reason) {
    const why = make("td", "reason", reason);
    why.colSpan = 2;
    rows.push(make("tr", "", why));
  }
  return make("tbody", missing ? "missing" : "", ...rows);
}
