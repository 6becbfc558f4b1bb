// How long an answer took, and where the time went. Pure.

/** The parts of a turn in the order in which they happen; what a newer server adds comes behind. */
export const STEPS = ["endpoint", "transcript", "first_token", "first_clause", "first_audio"];

const known = (value) => (Number.isFinite(value) ? value : null);

/**
 * Bars of a waterfall, in shares of the whole width (0…1).
 *
 * The bars of the server stand one behind the other. What preparing ahead saved is hatched behind them: so much later
 * the answer would have come, had the work begun at the end of the turn. `way` is what network and browser add until the
 * sound is heard.
 * @param turn {voice_to_voice_ms, parts, saved_ms, heard_ms}
 * @returns {{total: number, saved: number, heard: number|null, way: number|null, sums: boolean, bars: object[]}}
 */
export function waterfall({ voice_to_voice_ms: total, parts, saved_ms: saved, heard_ms: heard }) {
  const whole = Math.max(0, known(total) ?? 0);
  const gain = Math.max(0, known(saved) ?? 0);
  const ear = known(heard);
  const names = [...STEPS, ...Object.keys(parts ?? {}).filter((name) => !STEPS.includes(name))];
  const steps = names.map((name) => [name, known(parts?.[name])]).filter(([, value]) => value !== null);
  const summed = steps.reduce((sum, [, value]) => sum + Math.max(0, value), 0);
  const scale = Math.max(1, whole + gain, summed, ear ?? 0);
  let from = 0;
  const bars = steps.map(([name, value]) => {
    const bar = { kind: "step", name, from: from / scale, share: Math.max(0, value) / scale, ms: value };
    from += Math.max(0, value);
    return bar;
  });
  const way = ear === null ? null : Math.max(0, ear - whole);
  if (gain > 0) bars.push({ kind: "saved", name: "saved", from: whole / scale, share: gain / scale, ms: gain });
  if (ear !== null) bars.push({ kind: "way", name: "way", from: Math.min(whole, ear) / scale, share: way / scale, ms: way });
  return { total: whole, saved: gain, heard: ear, way, sums: !steps.length || Math.abs(summed - whole) <= 5, bars };
}

/** Median and the value that 95 of 100 do not exceed; null of nothing. */
export function spread(values) {
  const sorted = values.filter(Number.isFinite).sort((one, other) => one - other);
  if (!sorted.length) return null;
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    return sorted[low] + (sorted[Math.ceil(place)] - sorted[low]) * (place - low);
  };
  return { count: sorted.length, median: at(0.5), p95: at(0.95), worst: sorted.at(-1) };
}
