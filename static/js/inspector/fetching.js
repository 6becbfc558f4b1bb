// Models that the server is bringing, in a line of words. Pure.

/** Stage → its title, what its better model is, and what the engine does when it takes over. */
const WORDS = {
  vad: { title: "Voice activity", thing: "a better sense of voices", does: "noticing voices" },
  stt: { title: "Listen", thing: "better ears", does: "listening" },
  tts: { title: "Speak", thing: "a better voice", does: "speaking" },
  llm: { title: "Think", thing: "a better mind", does: "thinking" },
  vision: { title: "Watch", thing: "better eyes", does: "watching" },
  turn: { title: "Turns", thing: "a better sense of turns", does: "judging turns" },
};

/** What people call a stage. */
export const titleOf = (stage) => (Object.hasOwn(WORDS, stage) ? WORDS[stage].title : stage ?? "");

const isUnderWay = ({ state }) => state === "fetching" || state === "arrived";
const models = ({ fetching }) => (Array.isArray(fetching) ? fetching : []);

/** @param engines rows of the server, or null @returns "Fetching better ears … 40 %"; empty when nothing is fetched */
export function fetchingLine(engines) {
  const parts = (engines ?? []).flatMap((row) => {
    const wanted = models(row).filter(isUnderWay);
    if (!wanted.length || !Object.hasOwn(WORDS, row.stage)) return [];
    const done = wanted.reduce((sum, model) => sum + model.done, 0);
    const total = wanted.reduce((sum, model) => sum + model.total, 0);
    const share = total > 0 ? ` ${Math.min(100, Math.floor((100 * done) / total))} %` : "";
    return [`${WORDS[row.stage].thing} …${share}`];
  });
  return parts.length ? `Fetching ${parts.join(", ")}` : "";
}

/** Whether something is being fetched, or waits for that: then it is worth asking again. */
export const isFetching = (engines) =>
  (engines ?? []).some((row) => models(row).some((model) => model.state === "waiting" || isUnderWay(model)));

/** @returns "Now listening with moonshine-tiny-en"; empty when no better engine has taken over */
export function takenOver(before, after) {
  const known = new Map((before ?? []).map((row) => [row.stage, row.engine]));
  return after
    .filter(({ stage, engine, ok }) => ok !== false && Object.hasOwn(WORDS, stage)
      && known.has(stage) && known.get(stage) !== engine && engine !== "none")
    .map(({ stage, engine }) => `Now ${WORDS[stage].does} with ${engine}`)
    .join(". ");
}

/** Why models of a row could not be had, for its reason. */
export const failures = (row) =>
  models(row).filter(({ state, error }) => state === "failed" && error).map(({ error }) => error).join("; ");
