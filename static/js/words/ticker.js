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

/** Milliseconds of a response's sound that have reached the ear. @param from when its first sample was sent */
export const heardMs = (state, from, now) => now - from - state.latency.delayMs;
