// The engines panel: what does which part of the work, where, and why.

import { failures, fetchingLine, titleOf } from "./fetching.js";
import { byId, h, icon, setText } from "../view/dom.js";
import { newsOf } from "../state/engines.js";

class EnginesView {
  #table = byId("engine-table");
  #summary = byId("engines-summary");
  #panel = byId("engines");
  #shown = null;
  #touched = false;

  constructor() {
    if (matchMedia("(max-height: 560px)").matches) this.#panel.open = false; // a phone held sideways has no room
    this.#panel.querySelector("summary").addEventListener("click", () => { this.#touched = true; });
  }

  render(state) {
    if (state.engines.rows !== this.#shown) this.#fill(state.engines.rows);
    if (!state.engines.rows && state.engines.asked) this.#summary.textContent = "not known";
    // Room for the conversation once there is one, unless the user has decided otherwise.
    if (!this.#touched && state.call.phase === "connected") this.#panel.open = false;
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

const warning = (text) => h("span", { class: "badge warn" }, icon("warn"), text);

/** One engine is a group of two rows, so that a long reason has the width of both columns. */
function engineRows(row) {
  const { stage, engine, device, wanted, reason: why = "" } = row;
  const badge = trouble(row);
  const known = wanted && !why.includes(wanted) ? `Stands in for ${wanted}: ${why}` : why;
  const reason = [known, failures(row)].filter(Boolean).join("; ");
  const stageCell = h("th", {}, titleOf(stage));
  stageCell.scope = "rowgroup";
  stageCell.rowSpan = reason ? 2 : 1;
  const name = h("td", { class: "engine" }, engine || "none");
  if (badge === "stand-in") name.append(" ", warning(badge));
  const where = badge && badge !== "stand-in" ? warning(badge) : h("span", { class: "badge" }, device || "unknown");
  const rows = [h("tr", {}, stageCell, name, h("td", {}, where))];
  if (reason) {
    const cell = h("td", { class: "reason" }, reason);
    cell.colSpan = 2;
    rows.push(h("tr", {}, cell));
  }
  return h("tbody", { class: badge && "troubled" }, ...rows);
}

const TICK_MS = 200;

export function mount({ store }) {
  const view = new EnginesView();
  const renderLine = () => {
    const { engines } = store.state;
    const line = [newsOf(engines, performance.now()), fetchingLine(engines.rows)].filter(Boolean).join(". ");
    byId("fetching").hidden = !line;
    setText(byId("fetching"), line);
  };
  store.subscribe((state) => {
    view.render(state);
    renderLine();
  });
  setInterval(renderLine, TICK_MS); // news grow old by themselves
}
