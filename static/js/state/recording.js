// Whether this conversation is being recorded, and what is there of it afterwards. Pure.

const initial = {
  on: false,
  seconds: 0, // recorded so far, as the server told it
  since: 0, // when it told so, in ms
  reason: null, // why it has stopped: time_limit | size_limit | disk_full | asked
  session: null, // the newest session: its recording can be had after its end
  any: false, // whether anything of it has been recorded
};

const handlers = {
  "recording.changed": (slice, event) => {
    const on = event.state === "on";
    return { ...slice, on, seconds: Number(event.seconds) || 0, since: event.at ?? 0, reason: event.reason ?? null,
      any: slice.any || on || Number(event.seconds) > 0 };
  },
  "client.answered": (_, event) => ({ ...initial, session: event.session_id ?? null }),
  "client.stopped": (slice) => ({ ...slice, on: false }),
  "client.failed": (slice) => ({ ...slice, on: false }),
};

/** Seconds recorded. @param now in ms */
export const recordedSeconds = ({ on, seconds, since }, now) => seconds + (on ? Math.max(0, now - since) / 1000 : 0);

export const recording = { initial, handlers };
