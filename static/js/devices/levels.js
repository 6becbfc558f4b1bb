// How loud the microphone and the assistant are, for the eye. Nothing here is sent or kept.

const FRAME_MS = 50;
const FLOOR_DB = -56;
const CEILING_DB = -14;

/** Loudness of one block of samples, 0 (silent) to 1. */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, (decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}

export class Meters {
  #context = null;
  #taps = new Map();
  #frame = 0;
  #last = 0;
  #show;

  /** @param show called with (name, level 0…1) some twenty times a second while the page is visible */
  constructor(show) {
    this.#show = show;
  }

  /** Watch an audio track under a name. A browser without Web Audio goes without. */
  watch(name, track) {
    try {
      this.#context ??= new AudioContext();
      this.#context.resume().catch(() => {}); // refused until the user touches the page: the meter stays flat
      const analyser = new AnalyserNode(this.#context, { fftSize: 1024 });
      this.#context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      this.#taps.set(name, { analyser, samples: new Float32Array(analyser.fftSize), level: 0 });
      this.#frame ||= requestAnimationFrame(this.#tick);
    } catch {
      this.#taps.delete(name);
    }
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    for (const name of this.#taps.keys()) this.#show(name, 0);
    this.#taps.clear();
    this.#context?.close();
    this.#context = null;
  }

  #tick = (now) => {
    this.#frame = requestAnimationFrame(this.#tick);
    if (now - this.#last < FRAME_MS) return;
    this.#last = now;
    for (const [name, tap] of this.#taps) {
      tap.analyser.getFloatTimeDomainData(tap.samples);
      const level = loudness(tap.samples);
      tap.level = level > tap.level ? level : tap.level * 0.8 + level * 0.2; // up at once, down gently
      this.#show(name, tap.level);
    }
  };
}
