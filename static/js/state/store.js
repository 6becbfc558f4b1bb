// What happened in, what the page shows out. The state is made of slices; each says what an event changes in it.
// Events are the server's (OpenAI Realtime GA and visavis' own) and the page's own, which begin with `client.`.

/**
 * The next state. Every slice sees the whole state as it was before the event. Pure.
 * @param slices name → {initial, handlers: {[type]: (slice, event, all) => slice}}
 * @returns {object} `state` itself when the event means nothing to the page
 */
export function reduce(slices, state, event) {
  let next = state;
  for (const [name, { handlers }] of Object.entries(slices)) {
    if (!Object.hasOwn(handlers, event?.type)) continue;
    const slice = handlers[event.type](state[name], event, state);
    if (slice !== state[name]) next = { ...next, [name]: slice };
  }
  return next;
}

/** @returns {object} the state before anything has happened */
export const initialOf = (slices) =>
  Object.fromEntries(Object.entries(slices).map(([name, { initial }]) => [name, initial]));

/**
 * @param slices see {@link reduce}
 * @param now the clock that stamps events with `at`, in ms
 * @returns {{state: object, dispatch: function(object), subscribe: function(function)}} `subscribe(fn)` → a function that
 *   ends it; `fn(state, events)` is called once for all events of a microtask, in which they are in order
 */
export function createStore(slices, now = () => performance.now()) {
  let state = initialOf(slices);
  let events = [];
  const listeners = new Set();

  function notify() {
    const happened = events;
    events = [];
    for (const listener of listeners) listener(state, happened);
  }

  return {
    get state() { return state; },
    dispatch(event) {
      const stamped = { ...event, at: now() };
      state = reduce(slices, state, stamped);
      if (!events.length) queueMicrotask(notify);
      events.push(stamped);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
