// Runs along while a response is heard: once for each picture of the screen.

/** @param each called with (state, now in ms) while something sounds, and once when it has ended */
export function whilePlaying(store, each) {
  let frame = 0;
  const tick = (now) => {
    const { state } = store;
    each(state, now);
    frame = state.call.playing ? requestAnimationFrame(tick) : 0;
  };
  store.subscribe(({ call }) => {
    if (call.playing && !frame) frame = requestAnimationFrame(tick);
  });
}

/**
 * Milliseconds of a response's sound that have reached the ear. The word of the server that its first sample went out
 * may come later than that sample; so the first sound itself is what counts, once it was there.
 * @param entry of the response, with `from` (when its first sample was sent) and the times of its words
 */
export function heardMs({ latency: { sounded, delayMs } }, { response, from, words }, now) {
  if (sounded?.response_id !== response || !response) return now - from - delayMs;
  return now - sounded.sounded - sounded.playout + (words?.[0]?.start_ms ?? 0);
}
