// When a response reaches the ear: listens for its first sound, and learns how long the sound is held back before it.

/** −50 dBFS: louder is a sound. */
const SOUND = 0.00316;
const EVERY_MS = 10;
const PATIENCE_MS = 2000;

/** Tells `client.sounded` once for each response that is heard, and `client.delay` as it changes. */
export function mount({ store, call }) {
  let before = null;
  let awaited = 0;

  const receiver = () => call.peer?.getReceivers().find(({ track }) => track.kind === "audio");
  const level = (source) => source.getSynchronizationSources()[0]?.audioLevel ?? 0;

  function listen({ response_id: response, at: started }) {
    const source = receiver();
    const mine = ++awaited;
    if (!source || document.hidden) return; // timers stand almost still in a hidden page
    const look = () => {
      const sounded = performance.now();
      if (mine !== awaited || !call.peer || sounded - started > PATIENCE_MS) return;
      if (level(source) < SOUND) setTimeout(look, EVERY_MS);
      else tell(response, started, sounded);
    };
    look();
  }

  async function tell(response, started, sounded) {
    const found = await learn();
    store.dispatch({ type: "client.sounded", response_id: response, started, sounded, rtt: found?.rttMs ?? 0,
      playout: found?.playoutMs ?? 0 });
  }

  async function learn() {
    const report = await call.peer?.getStats().catch(() => null);
    if (!report) return null;
    const { difference, read } = await import("../inspector/stats.js"); // nobody waits for it at the start
    const now = read(report, performance.now());
    const found = difference(before, now);
    before = now;
    if (found.jitterBufferMs !== null) {
      store.dispatch({ type: "client.delay", ms: found.jitterBufferMs + (found.playoutMs ?? 0) });
    }
    return found;
  }

  store.subscribe((_, events) => {
    for (const event of events ?? []) {
      if (event.type === "output_audio_buffer.started") listen(event);
      if (event.type === "client.connected") before = null;
    }
  });
}
