// How long the answers took: what the server tells of each, and what the ear got. Pure.

/** Turns that are remembered. */
export const MAX_TURNS = 500;
/** What is held back between the network and the ear when nothing is known, in ms. */
const USUAL_DELAY_MS = 60;

const initial = {
  last: null, // the newest of the turns
  turns: [], // {response_id, voice_to_voice_ms, parts, saved_ms, heard_ms}, oldest first
  sounded: null, // the newest client.sounded: it comes before the server has told the turn
  delayMs: USUAL_DELAY_MS, // jitter buffer and loudspeaker
};

const heard = (turn, sounded) =>
  sounded?.response_id === turn.response_id
    ? { ...turn, heard_ms: heardAfter({ ...sounded, voiceToVoice: turn.voice_to_voice_ms }) }
    : turn;

const handlers = {
  "turn.latency": (latency, event) => {
    if (!event.response_id) return latency;
    const turn = heard({
      response_id: event.response_id, voice_to_voice_ms: event.voice_to_voice_ms, parts: event.parts ?? {},
      saved_ms: event.saved_ms ?? 0, heard_ms: null,
    }, latency.sounded);
    const others = latency.turns.filter(({ response_id: id }) => id !== turn.response_id);
    return { ...latency, last: turn, turns: [...others, turn].slice(-MAX_TURNS) };
  },
  /** The first sound of a response has reached the page. */
  "client.sounded": (latency, { type: _, at: __, ...sounded }) => {
    const turns = latency.turns.map((turn) => heard(turn, sounded));
    return { ...latency, sounded, turns, last: turns.at(-1) ?? null };
  },
  "client.delay": (latency, event) => ({ ...latency, delayMs: event.ms }),
  "client.connecting": (latency) => ({ ...latency, last: null, sounded: null, delayMs: USUAL_DELAY_MS }),
};

/** The latency of a response; null while it is not known. */
export const latencyOf = (latency, response) =>
  response ? latency.turns.findLast(({ response_id: id }) => id === response) ?? null : null;

/** The user's last sound leaves with its packet. */
const PACKET_MS = 20;

/**
 * What the ear got: from the end of the user's voice to the first sound from the loudspeaker.
 *
 * The server's clock and the page's are not compared. The server says how long it took; on the page the time is taken
 * between the server's word that its first sample went out and the first sound that came in; the network is crossed once
 * by the user's last sound and once by that word.
 * @param started when `output_audio_buffer.started` came, in ms @param sounded when the first sound was there
 * @param playout what the loudspeaker still holds back, in ms
 */
export function heardAfter({ voiceToVoice, started, sounded, rtt = 0, playout = 0 }) {
  if (![voiceToVoice, started, sounded].every(Number.isFinite) || sounded < started - 1000) return null;
  return voiceToVoice + PACKET_MS + (sounded - started) + number(rtt) + number(playout);
}

const number = (value) => (Number.isFinite(value) ? Math.max(0, value) : 0);

export const latency = { initial, handlers };
