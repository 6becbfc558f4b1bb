import assert from "node:assert/strict";
import { test } from "node:test";

import { OF_SERVER, OF_SESSION, pathOf, reading, rowsOf } from "../../../static/js/inspector/curves.js";

const series = (name, values, labels = {}) => ({ name, labels, kind: "gauge", values, peaks: values.map((v) => (v === null ? null : 2 * v)) });
const whats = (rows) => rows.map(({ series: name, what }) => [name, what]);

test("a row has the last value, and the highest of the peaks", () => {
  const [row] = rowsOf({ series: [series("process_cpu_seconds_total", [null, 1, 3, 2, null])] });
  assert.deepEqual([row.now, row.mean, row.peak, row.group, row.unit], [2, 2, 6, "server", "cores"]);
  assert.deepEqual(rowsOf({ series: [series("process_cpu_seconds_total", [null, null])] }), [], "nothing is known");
  assert.deepEqual(rowsOf(null), []);
});

test("only the own session is shown, and of the engines those that cost the most", () => {
  const engines = Array.from({ length: 20 }, (_, n) => series("visavis_engine_cpu_seconds_total", [n], { engine: `e${n}` }));
  const answer = { series: [...engines, series("visavis_session_latency_ms", [300], { session: "mine" }),
    series("visavis_session_latency_ms", [900], { session: "another" }), series("visavis_turns_total", [1], { outcome: "completed" })] };
  const rows = rowsOf(answer, "mine");
  assert.deepEqual(rows.filter(({ group }) => group === "session").map(({ now }) => now), [300]);
  assert.deepEqual(rows.filter(({ group }) => group === "engines").map(({ what }) => what).sort(), ["e12", "e13", "e14", "e15", "e16", "e17", "e18", "e19"]);
  assert.ok(!rows.some(({ what }) => what === "completed"));
  assert.ok(!rowsOf(answer).some(({ group }) => group === "session"));
});

test("of several workers the sum is shown, of the machine the front's, and each worker's delay", () => {
  const of = (worker, more = {}) => ({ worker, ...more });
  const rows = rowsOf({ series: [
    series("process_cpu_seconds_total", [3], of("all")), series("process_cpu_seconds_total", [1], of("1")),
    series("visavis_machine_cpu_share", [0.5], of("front")),
    series("visavis_event_loop_delay_seconds", [0.1], of("1")), series("visavis_event_loop_delay_seconds", [0.2], of("front")),
  ] });
  assert.deepEqual(whats(rows), [["process_cpu_seconds_total", ""], ["visavis_machine_cpu_share", ""], ["visavis_event_loop_delay_seconds", "#1"]]);
});

test("gaps stay gaps, and what is rarely known is drawn through", () => {
  assert.equal(pathOf([0, 1], 10, 12), "M0.0 11.0h.1L10.0 1.0");
  assert.equal(pathOf([1, 1, null, 1, 1], 40, 12), "M0.0 1.0h.1L10.0 1.0M30.0 1.0h.1L40.0 1.0");
  assert.equal(pathOf([1, null, null, null, null, null, 1], 60, 12), "M0.0 1.0h.1L60.0 1.0");
  assert.equal(pathOf([null], 10, 12), "");
  assert.equal(pathOf([5], 10, 12), "M0.0 1.0h.1");
});

test("values read as people read them", () => {
  assert.deepEqual(reading(2 ** 31, "bytes"), [2, "gib"]);
  assert.deepEqual(reading(2 ** 21, "bytes"), [2, "mib"]);
  assert.deepEqual(reading(0.004, "seconds"), [4, "ms"]);
  assert.deepEqual(reading(0.5, "share"), [50, "percent"]);
  assert.deepEqual(reading(0.5, "minute"), [30, "minute"]);
  assert.equal(new Set([...OF_SERVER, ...OF_SESSION]).size, OF_SERVER.length + OF_SESSION.length);
});
