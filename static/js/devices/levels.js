// How loud the microphone and the assistant are, for the eye; and whether the microphone hears anything at all.
// WebRTC measures both; only a microphone that no call carries, or a browser that does not tell, needs an analyser.
// Nothing here is sent or kept.

const VOICE_MS = 66;
const MICROPHONE_MS = 100;
const FLOOR_DB = -56;
const CEILING_DB = -14;
/** Below this not even a quiet room is heard. */
const SILENCE_DB = -70;
const SILENCE_MS = 8000;
/** Somebody speaks: so loud, in so many readings in a row. */
const SPEECH_DB = -42;
const SPEECH_READINGS = 6;

export const decibels = (level) => 20 * Math.log10(Math.max(level, 1e-6));

/** For the eye: 0 (silent) to 1. @param level 0…1, linear */
export const loudness = (level) =>
  Math.min(1, Math.max(0, (decibels(level) - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));

/** Up at once, down gently. */
const smooth = (before, now) => (now > before ? now : before * 0.8 + now * 0.2);

/** Tells once when a microphone has heard nothing at all for a while. Pure. */
export function silenceWatch(milliseconds = SILENCE_MS) {
  let since = null;
  let told = false;
  return (level, now) => {
    if (decibels(level) > SILENCE_DB) {
      told = true; // it works
      return false;
    }
    since ??= now;
    if (told || now - since < milliseconds) return false;
    told = true;
    return true;
  };
}

/** Reads the level of a track by itself. A browser without Web Audio reads nothing. */
function analyserOf(track) {
  try {
    const context = new AudioContext();
    context.resume().catch(() => {}); // refused until the user touches the page: the level stays 0
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    return {
      level() {
        analyser.getFloatTimeDomainData(samples);
        return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
      },
      close: () => context.close(),
    };
  } catch {
    return null;
  }
}

async function inboundLevel(receiver) {
  for (const entry of (await receiver.getStats()).values()) {
    if (entry.type === "inbound-rtp") return entry.audioLevel ?? 0;
  }
  return 0;
}

/**
 * @param show called with (name: microphone | voice, level 0…1), while the page is visible
 * @param onSilent called once for a microphone that hears nothing at all
 */
export function createLevels({ show, onSilent }) {
  let connection = null;
  let track = null;
  let analyser = null;
  let isSilent = silenceWatch();
  let timers = [];
  let reading = false; // one at a time
  let readingVoice = false;
  const shown = { microphone: 0, voice: 0 };

  function see(name, level) {
    const next = smooth(shown[name], loudness(level));
    if (next < 0.002 && shown[name] === 0) return;
    shown[name] = next < 0.002 ? 0 : next;
    show(name, shown[name]);
  }

  async function readVoice() {
    if (document.hidden || readingVoice || !connection?.voice) return;
    const { voice } = connection;
    let level = voice.getSynchronizationSources()[0]?.audioLevel;
    if (level === undefined) { // the sender does not write it into its packets: the browser measures what it plays
      readingVoice = true;
      level = await inboundLevel(voice).catch(() => 0);
      readingVoice = false;
    }
    if (voice === connection?.voice) see("voice", level);
  }

  async function readMicrophone() {
    const mine = track;
    if (!mine || reading || document.hidden) return;
    reading = true;
    const level = await levelOf().catch(() => 0);
    reading = false;
    if (mine !== track) return;
    see("microphone", level);
    if (mine.enabled && isSilent(level, performance.now())) onSilent(mine.label);
  }

  async function levelOf() {
    if (analyser) return analyser.level();
    const report = await connection?.sender("microphone")?.getStats();
    for (const entry of report?.values() ?? []) {
      if (entry.type === "media-source" && entry.audioLevel !== undefined) return entry.audioLevel;
    }
    if (report && track) analyser = analyserOf(track); // a browser that does not tell
    return 0;
  }

  function microphone(next) {
    analyser?.close();
    analyser = null;
    track = next;
    isSilent = silenceWatch();
    shown.microphone = 0;
    show("microphone", 0);
  }

  return {
    /** Which microphone is being sent; null for none. */
    microphone,
    /** @param next what has `sender(kind)` and `voice`, the receiver of the assistant's voice */
    connect(next) {
      connection = next;
      timers.splice(0).forEach(clearInterval);
      timers = [setInterval(readVoice, VOICE_MS), setInterval(readMicrophone, MICROPHONE_MS)];
    },
    close() {
      timers.splice(0).forEach(clearInterval);
      microphone(null);
      connection = null;
      shown.voice = 0;
      show("voice", 0);
    },
    /** Listen to a track that is not sent, and tell when somebody speaks into it. @returns what ends it */
    whoSpeaks(muted, tell) {
      const own = analyserOf(muted);
      let loud = 0;
      const timer = setInterval(() => {
        loud = own && decibels(own.level()) > SPEECH_DB ? loud + 1 : 0;
        if (loud === SPEECH_READINGS) tell();
      }, VOICE_MS);
      return () => {
        clearInterval(timer);
        own?.close();
      };
    },
  };
}
