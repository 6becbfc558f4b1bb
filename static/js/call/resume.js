// When to try again: after a loss by a growing pause, at a server that is full when it says. Pure but for the timer.

/** New offers after a loss, before the user is asked. */
export const TRIES = 5;
const FIRST_MS = 500;
const JITTER_MS = 250;
const NO_ANSWER_SECONDS = 5;
const LONGEST_SECONDS = 120;

/** Pause before a try (from 0), in ms: they double, and no two pages come at the same time. */
export const pauseBefore = (attempt, random = Math.random) => FIRST_MS * 2 ** attempt + random() * JITTER_MS;

/** Seconds after which a server that has no place wants to be asked again. */
export const secondsToWait = (retryAfter) =>
  Math.min(LONGEST_SECONDS, Math.max(1, Number.isFinite(retryAfter) ? retryAfter : NO_ANSWER_SECONDS));

/** One pause at a time, which can be cut short. */
export class Pause {
  #timer = 0;
  #then = null;

  /** @returns when it ends, in ms */
  begin(ms, then) {
    this.cancel();
    this.#then = then;
    this.#timer = setTimeout(() => this.end(), ms);
    return performance.now() + ms;
  }

  /** End it now. */
  end() {
    const then = this.#then;
    this.cancel();
    then?.();
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#then = null;
  }
}
