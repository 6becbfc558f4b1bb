// Models that are on their way, engines that have taken over, and how good what is here is. Pure; the words come from
// outside.

const isUnderWay = ({ state }) => state === "fetching" || state === "arrived";
const modelsOf = ({ fetching }) => (Array.isArray(fetching) ? fetching : []);

/** Whether something is being fetched, or waits for that: then it is worth asking again. */
export const isFetching = (engines) =>
  (engines ?? []).some((row) => modelsOf(row).some((model) => model.state === "waiting" || isUnderWay(model)));

/** @returns {{stage: string, engine: string}[]} the better engines that have taken over */
export function takenOver(before, after) {
  const known = new Map((before ?? []).map((row) => [row.stage, row.engine]));
  return after
    .filter(({ stage, engine, ok }) => ok !== false && known.has(stage) && known.get(stage) !== engine && engine !== "none")
    .map(({ stage, engine }) => ({ stage, engine }));
}

/** Percent of what a stage is being brought; null where the size is not known, undefined where nothing comes. */
export function progressOf(row) {
  const coming = modelsOf(row).filter(isUnderWay);
  if (!coming.length) return undefined;
  const done = coming.reduce((sum, model) => sum + (model.done ?? 0), 0);
  const total = coming.reduce((sum, model) => sum + (model.total ?? 0), 0);
  return total > 0 ? Math.min(100, Math.floor((100 * done) / total)) : null;
}

/** @returns {{stage: string, model: string, percent: number|null}[]} one for each stage that is being brought a model */
export const arrivals = (engines) =>
  (engines ?? []).flatMap((row) => {
    const percent = progressOf(row);
    const model = modelsOf(row).find(isUnderWay)?.model ?? "";
    return percent === undefined ? [] : [{ stage: row.stage, model, percent }];
  });

/** Why models of a stage could not be had. */
export const failuresOf = (row) =>
  modelsOf(row).filter(({ state, error }) => state === "failed" && error).map(({ error }) => error);

/** What is wrong with a row: "" | stand_in | not_working | missing. */
export function troubleOf({ engine, ok, wanted }) {
  if (ok !== false) return "";
  if (wanted) return "stand_in";
  return engine && engine !== "none" ? "not_working" : "missing";
}

const LEVELS = new Set(["basic", "good", "best"]);

/** @param quality of `GET /v1/status` @returns {[stage, level][]} ears, brain and voice, as far as they are known */
export const levelsOf = (quality) =>
  ["stt", "llm", "tts"].map((stage) => [stage, quality?.[stage]]).filter(([, level]) => LEVELS.has(level));
