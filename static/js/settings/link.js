// A link to this page with what was chosen, to be copied or photographed.

import { h, setText } from "../view/dom.js";
import { qr } from "./qr.js";
import { addressFor, linkFor } from "./share.js";

/** Modules of quiet around a code. */
const QUIET = 4;
const COPIED_MS = 2000;

export function create({ settings, t }) {
  const field = h("input", { type: "text", id: "share-link", readonly: true, dir: "ltr", spellcheck: "false", onfocus: () => field.select() });
  const copy = h("button", { class: "button", type: "button", id: "copy-link", onclick: take }, t("settings.copy"));
  const said = h("p", { class: "sr-only", role: "status" });
  const image = h("div", {});
  const note = h("p", { class: "note" });
  let shown = "";

  async function take() {
    field.select();
    const done = await navigator.clipboard?.writeText(field.value).then(() => true, () => false) || document.execCommand("copy");
    setText(said, t(done ? "settings.copied" : "settings.copy_failed"));
    setText(copy, said.textContent);
    setTimeout(() => { setText(copy, t("settings.copy")); setText(said, ""); }, COPIED_MS);
  }

  function render({ engines: { status } }) {
    const address = linkFor(addressFor(status, location), settings.all);
    if (address === shown) return;
    shown = address;
    field.value = address;
    const secure = address.startsWith("https:");
    const local = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(address).hostname);
    setText(note, t(local ? "settings.link_local" : secure ? "settings.link_secure" : "settings.link_insecure"));
    image.replaceChildren(...(local ? [] : drawn(address, t("settings.qr"))));
  }

  return { fields: [h("p", { class: "note" }, t("settings.link_hint")), h("label", { class: "sr-only", for: "share-link" }, t("settings.link")),
    h("div", { class: "share-row" }, field, copy), said, image, note], render };
}

/** The code as a picture; none where the address is too long for one. */
function drawn(text, label) {
  let rows;
  try {
    rows = qr(text);
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
  const namespace = "http://www.w3.org/2000/svg";
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS(namespace, tag));
  const side = rows.length + 2 * QUIET;
  const attributes = { viewBox: `0 0 ${side} ${side}`, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" };
  Object.entries(attributes).forEach(([name, value]) => svg.setAttribute(name, value));
  path.setAttribute("d", rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ""))).join(""));
  svg.append(path);
  return [svg];
}
