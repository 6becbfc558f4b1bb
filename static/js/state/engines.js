// What does which part of the work on the server, and what else the server says of itself: models that are on their way,
// engines that have taken over, and how good what is here is. Pure; the words come from outside.

const NEWS_MS = 8000;

const initial = {
  rows: null, // or null while not known
  asked: false, // and not told
  news: null, // {list, until}: the engines that have just taken over, and how long to say so (ms)
  status: null, // the answer of GET /v1/status; null where the server has none
};

function told(slice, event) {
  if (!Array.isArray(event.data)) return slice;
  const list = takenOver(slice.rows, event.data);
  const news = list.length ? { list, until: (event.at ?? 0) + NEWS_MS } : slice.news;
  return { ...slice, rows: event.data, news };
}

/** The engines that have just taken over, as long as that is news. @param slice state.engines @param now in ms */
export const newsOf = ({ news }, now) => (news && news.until > now ? news.list : []);

const handlers = {
  "engine.status": told,
  "client.engines_unknown": (slice) => ({ ...slice, asked: true }),
  "client.status": (slice, event) => told({ ...slice, status: event.status }, { ...event, data: event.status.engines }),
};

export const engines = { initial, handlers };

// --- of rows ------------------------------------------------------------------------------------------------------

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
