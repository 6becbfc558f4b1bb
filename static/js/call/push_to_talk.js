// The talk button: what is said while it is held is a turn. Time comes from outside.

/** Shorter is a slip of the finger. */
export const SHORTEST_MS = 150;
/** The last word is often not over when the finger is. */
export const TAIL_MS = 200;
/** Code of the error that answers a commit when nobody has spoken. */
export const NOTHING_HEARD = "input_audio_buffer_commit_empty";

/**
 * @param send events for the server @param listen (on) lets the microphone through @param hush stops a response
 * @param tell (code) makes a notice @param clock {now, after(ms, fn) → cancel}
 */
export function createPushToTalk({ send, listen, hush, tell, clock = browserClock }) {
  let since = null; // when it was pressed
  let endTail = null; // cancels the timer of the tail
  let asked = 0; // turns that are on their way, and are to be answered

  function press() {
    if (since !== null) return;
    if (endTail) finish(); // pressed again within the tail: what was said before is a turn of its own
    since = clock.now();
    hush();
    listen(true);
    send({ type: "input_audio_buffer.clear" });
  }

  function release() {
    if (since === null) return;
    const held = clock.now() - since;
    since = null;
    if (held < SHORTEST_MS) {
      listen(false);
      send({ type: "input_audio_buffer.clear" });
      tell("hold_to_talk");
      return;
    }
    endTail = clock.after(TAIL_MS, finish);
  }

  function finish() {
    endTail?.();
    endTail = null;
    listen(false);
    if (send({ type: "input_audio_buffer.commit" })) asked += 1;
  }

  /** The server has what was said, or heard nothing: then there is nothing to answer. */
  function told({ type, error }) {
    if (!asked) return;
    const heard = type === "input_audio_buffer.committed";
    if (!heard && error?.code !== NOTHING_HEARD) return;
    asked -= 1;
    if (heard) send({ type: "response.create" });
    else tell("nothing_heard");
  }

  return {
    press,
    release,
    told,
    /** There is no call any more, or another way of taking turns. */
    cancel() {
      endTail?.();
      endTail = null;
      asked = 0;
      if (since !== null) listen(false);
      since = null;
    },
  };
}

const browserClock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};
