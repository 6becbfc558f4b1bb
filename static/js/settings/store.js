// What the user has chosen, kept for the next visit. No keys and no words of a conversation are kept.

import { INITIAL, TABLE } from "./table.js";

const STORED = "visavis.settings";

/** What is legal of what was found; everything else as at first. Pure. */
export function legal(found) {
  const chosen = { ...INITIAL };
  for (const [name, row] of Object.entries(TABLE)) {
    if (Object.hasOwn(found ?? {}, name) && row.legal(found[name])) chosen[name] = found[name];
  }
  return chosen;
}

/** Only what differs from what it was at first. Pure. */
export const changed = (chosen) =>
  Object.fromEntries(Object.entries(chosen).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(INITIAL[name])));

/** @param storage localStorage, or something like it that may refuse */
export function read(storage) {
  try {
    return legal(JSON.parse(storage().getItem(STORED) ?? "{}"));
  } catch {
    return { ...INITIAL }; // it is forbidden, or holds something else
  }
}

function keep(storage, chosen) {
  try {
    storage().setItem(STORED, JSON.stringify(changed(chosen)));
  } catch {
    // then the choice lasts until the page is left
  }
}

/**
 * @param dispatch is told `client.settings` {changed: {name: value}} of every change, and at first of everything
 * @returns {{get(name), set(name, value), merge(values), reset(names?), all}} `set` of an illegal value throws RangeError
 */
export function createSettings({ dispatch, storage = () => localStorage }) {
  let chosen = read(storage);
  dispatch({ type: "client.settings", changed: chosen });

  function merge(values) {
    for (const [name, value] of Object.entries(values)) {
      if (!TABLE[name]?.legal(value)) throw new RangeError(`${name}: ${JSON.stringify(value)} is not legal`);
    }
    chosen = { ...chosen, ...values };
    keep(storage, { ...read(storage), ...values }); // another tab may have chosen the rest
    dispatch({ type: "client.settings", changed: values });
  }

  return {
    get: (name) => chosen[name],
    set: (name, value) => merge({ [name]: value }),
    merge,
    /** Make some as they were at first; all of them unless they are named. */
    reset: (names = Object.keys(TABLE)) => merge(Object.fromEntries(names.map((name) => [name, INITIAL[name]]))),
    get all() { return chosen; },
  };
}
