// Tab "Network": by which way sound and pictures travel, and how well.

import { h } from "../view/dom.js";
import { difference, read, sparkline } from "./stats.js";

const EVERY_MS = 1000;
const KEPT = 60;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [240, 36];

export function create({ store, call, t }) {
  const list = h("dl", { class: "facts-list", id: "network-facts" });
  const lines = { inKbps: spark("in"), outKbps: spark("out") };
  const empty = h("p", { class: "empty" }, t("network.empty"));
  const sparks = h("div", { class: "sparks" }, ...Object.entries(lines).map(([name, line]) =>
    h("figure", {}, line, h("figcaption", {}, t(`network.${name}`, { value: "–" })))));
  const element = h("div", {}, empty, list, sparks);
  let timer = 0;
  let before = null;
  let series = { inKbps: [], outKbps: [] };

  async function look() {
    const peer = call.peer;
    empty.hidden = Boolean(peer);
    list.hidden = sparks.hidden = !peer;
    if (!peer) {
      before = null;
      return;
    }
    const now = read(await peer.getStats(), performance.now());
    const found = difference(before, now);
    before = now;
    if (found.inKbps !== null) {
      for (const name of Object.keys(series)) series[name] = [...series[name], found[name]].slice(-KEPT);
    }
    list.replaceChildren(...[...connectedIn(store.state.call, t), ...factsOf(now, found, t)].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    Object.entries(lines).forEach(([name, line], place) => {
      line.querySelector("polyline").setAttribute("points", sparkline(series[name], WIDTH, HEIGHT, KEPT));
      sparks.children[place].querySelector("figcaption").textContent =
        t(`network.${name}`, { value: series[name].length ? Math.round(series[name].at(-1)) : "–" });
    });
  }

  return {
    element,
    open() {
      series = { inKbps: [], outKbps: [] };
      before = null;
      const next = () => look().catch(() => {}); // the call has ended meanwhile
      next();
      timer = setInterval(next, EVERY_MS);
    },
    close: () => clearInterval(timer),
  };
}

/** How long the steps of the connection took. */
function connectedIn({ steps }, t) {
  const told = steps.filter(({ ms }) => ms !== null).map(({ name, ms }) => `${t(`step.${name}`)} ${t("step.ms", { ms: Math.round(ms) })}`);
  return told.length ? [[t("network.connect"), t("network.connect_value", { steps: told.join(" · ") })]] : [];
}

function spark(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", `spark ${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "polyline"));
  return svg;
}

/** Name and value of each fact that is known. */
function factsOf(now, found, t) {
  const facts = [];
  const tell = (key, values) => {
    if (Object.values(values).every((value) => value !== null && value !== undefined && value !== "")) {
      facts.push([t(`network.${key}`), t(`network.${key}_value`, values)]);
    }
  };
  const one = (value) => (value === null ? null : Math.round(value * 10) / 10);
  const { pair } = now;
  if (pair?.local && pair.remote) {
    tell("path", { local: pair.local.type, remote: pair.remote.type, protocol: pair.local.protocol });
    tell("server", { address: pair.remote.address, port: pair.remote.port });
  }
  tell("rtt", { value: one(found.rttMs) });
  tell("loss", { value: one(found.lossPercent) });
  tell("jitter", { value: one(found.jitterMs) });
  tell("jitter_buffer", { value: one(found.jitterBufferMs) });
  tell("playout", { value: one(found.playoutMs) });
  tell("concealed", { value: one(found.concealedPercent) });
  tell("audio", { codec: now.codecs.audio, received: one(found.audioInKbps), sent: one(found.audioOutKbps) });
  if (found.size) {
    tell("video", { codec: now.codecs.video, size: found.size, received: one(found.videoInKbps), sent: one(found.videoOutKbps) });
    tell("frames", { received: one(found.framesIn), sent: one(found.framesOut) });
    tell("freezes", { value: found.freezes });
  }
  return facts;
}
