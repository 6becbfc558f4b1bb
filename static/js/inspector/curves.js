// Curves of the server's history as rows of a table. Pure.

/** Groups in the order in which they are shown → series, how their values read, and which label names a row. */
const SHOWN = [
  ["session", "visavis_session_cpu_seconds_total", "cores"],
  ["session", "visavis_session_latency_ms", "ms"],
  ["session", "visavis_session_errors_total", "minute"],
  ["server", "process_cpu_seconds_total", "cores"],
  ["server", "process_resident_memory_bytes", "bytes"],
  ["server", "visavis_machine_cpu_share", "share"],
  ["server", "visavis_machine_memory_available_bytes", "bytes"],
  ["server", "visavis_gpu_busy_share", "share", "gpu"],
  ["server", "visavis_gpu_memory_bytes", "bytes", "gpu"],
  ["server", "visavis_sessions", "count"],
  ["server", "visavis_event_loop_delay_seconds", "seconds"],
  ["latency", "pipeline_total_latency_ms", "ms"],
  ["latency", "pipeline_stage_duration_ms", "ms", "stage"],
  ["errors", "visavis_turns_total", "minute", "outcome"],
  ["errors", "visavis_engine_errors_total", "minute", "engine"],
  ["engines", "visavis_engine_cpu_seconds_total", "cores", "engine"],
  ["engines", "visavis_engine_resident_bytes", "bytes", "engine"],
  ["engines", "visavis_pool_size", "count", "pool"],
];
const named = (wanted) => [...new Set(SHOWN.filter(([group]) => wanted(group)).map(([, series]) => series))];
export const OF_SESSION = named((group) => group === "session");
export const OF_SERVER = named((group) => group !== "session");
/** Engines that are shown: those that cost the most. */
const MOST_ENGINES = 8;

const known = (values) => values.filter((value) => Number.isFinite(value));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/**
 * @param answer of `GET /v1/history` @param session the own one, or null
 * @returns rows {group, series, what, unit, values, now, mean, peak}; those of which nothing is known are left out
 */
export function rowsOf(answer, session = null) {
  const rows = SHOWN.flatMap(([group, series, unit, label]) => {
    const found = (answer?.series ?? []).filter((one) => one.name === series && isWanted(one, group, session));
    const made = found.map((one) => row(group, unit, label, one)).filter(Boolean);
    return series === "visavis_turns_total" ? made.filter(({ what }) => what === "failed") : made;
  });
  const costly = new Set(rows.filter(({ series }) => series === "visavis_engine_cpu_seconds_total")
    .sort((one, other) => other.mean - one.mean).slice(0, MOST_ENGINES));
  return rows.filter((one) => one.series !== "visavis_engine_cpu_seconds_total" || costly.has(one));
}

/** Of several workers their sum, or what only one of them tells. */
function isWanted({ name, labels }, group, session) {
  if (group === "session") return Boolean(session) && labels.session === session;
  if (!labels.worker || labels.worker === "all") return true;
  const machine = name.startsWith("visavis_machine_") || name.startsWith("visavis_gpu_");
  return machine ? labels.worker === "front" : ADD_NOT.has(name) && labels.worker !== "front";
}

/** Series that do not add up: each worker's is shown. */
const ADD_NOT = new Set(["visavis_event_loop_delay_seconds", "pipeline_total_latency_ms", "pipeline_stage_duration_ms"]);

function row(group, unit, label, { name, labels, values, peaks }) {
  const there = known(values);
  if (!there.length) return null;
  const what = [label && labels[label], labels.worker && labels.worker !== "all" && labels.worker !== "front" && `#${labels.worker}`]
    .filter(Boolean).join(" ");
  return { group, series: name, what, unit, values, now: there.at(-1), mean: mean(there), peak: Math.max(...known(peaks), ...there) };
}

/** A line through what is known, as the path of an SVG: gaps stay gaps, and a lone value is a dot. */
export function pathOf(values, width, height) {
  const top = Math.max(1e-9, ...known(values));
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let pen = false;
  const parts = [];
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) {
      pen = false;
      return;
    }
    const point = `${(place * step).toFixed(1)} ${(height - 1 - ((height - 2) * Math.max(0, value)) / top).toFixed(1)}`;
    parts.push(pen ? `L${point}` : `M${point}h.1`);
    pen = true;
  });
  return joined(parts, values.length / 3);
}

/** Curves that are looked at rarely have more gaps than values; those are drawn through. */
function joined(parts, fewest) {
  const alone = parts.filter((part) => part.startsWith("M")).length;
  if (parts.length >= fewest || alone < 2) return parts.join("");
  return parts.map((part, place) => (place && part.startsWith("M") ? `L${part.slice(1, -3)}` : part)).join("");
}

/** A value for people: the number, and the key of its unit. */
export function reading(value, unit) {
  if (unit === "bytes") return value >= 2 ** 30 ? [value / 2 ** 30, "gib"] : [value / 2 ** 20, "mib"];
  if (unit === "seconds") return [value * 1000, "ms"];
  if (unit === "share") return [value * 100, "percent"];
  if (unit === "minute") return [value * 60, "minute"];
  return [value, unit];
}
