// When a response reaches the ear: listens for its first sound, and learns how long the sound is held back before it.

/** −50 dBFS: louder is a sound. */
const SOUND = 0.00316;
const EVERY_MS = 10;
const PATIENCE_MS = 3000;

/** Tells `client.sounded` once for each response that is heard, and `client.delay` as it changes. */
export function mount({ store, call }) {
  let before = null;
  let awaited = 0;

  const receiver = () => call.peer?.getReceivers().find(({ track }) => track.kind === "audio");

  async function listen({ response_id: response, at: started }) {
    const source = receiver();
    const mine = ++awaited;
    if (!source || document.hidden) return; // timers stand almost still in a hidden page
    const sound = soundIn(source);
    while (mine === awaited && call.peer && performance.now() - started < PATIENCE_MS) {
      const sounded = await sound();
      if (sounded !== null) return void tell(response, started, sounded);
      await new Promise((next) => setTimeout(next, EVERY_MS));
    }
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

/**
 * A function that looks whether a receiver sounds: since when, in ms; null while it is silent. The level of the newest
 * packet tells at once where the sender writes it into its packets; the energy played out so far always does, in steps of
 * some 50 ms, of which the middle is taken.
 */
function soundIn(receiver) {
  let before = null;
  return async () => {
    const level = receiver.getSynchronizationSources()[0]?.audioLevel;
    if (Number.isFinite(level)) return level > SOUND ? performance.now() : null;
    const report = await receiver.getStats().catch(() => new Map());
    const entry = [...report.values()].find(({ type }) => type === "inbound-rtp");
    if (!entry || entry.totalSamplesDuration === before?.duration) return null;
    const now = { at: performance.now(), energy: entry.totalAudioEnergy, duration: entry.totalSamplesDuration };
    const { at, energy, duration } = before ?? now;
    before = now;
    return Math.sqrt((now.energy - energy) / (now.duration - duration)) > SOUND ? (at + now.at) / 2 : null;
  };
}
