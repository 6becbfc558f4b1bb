// What is heard and seen of the assistant: one audio element, one video element, each with a stream of its own.

/** Whether the loudspeaker can be chosen in this browser. */
export const canChooseSpeaker = () => "setSinkId" in HTMLMediaElement.prototype;

/** Phones leave the volume to their buttons: what is set there is not kept. */
export function canSetVolume() {
  const probe = document.createElement("audio");
  probe.volume = 0.5;
  return probe.volume === 0.5;
}

/**
 * @param audio HTMLAudioElement @param picture HTMLVideoElement
 * @param dispatch is told when the browser wants to be touched before it plays, and when it has been
 */
export function createOutput({ audio, picture, dispatch }) {
  let blocked = null;
  // A phone pauses what plays when a headset is unplugged.
  audio.addEventListener("pause", () => audio.srcObject?.active && play(audio));

  async function play(element) {
    try {
      await element.play();
      if (blocked === element) unblock();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      blocked = element;
      dispatch({ type: "client.audio_blocked", blocked: true });
    }
  }

  function unblock() {
    blocked = null;
    dispatch({ type: "client.audio_blocked", blocked: false });
  }

  return {
    /** Within a touch: Safari lets play what has been played once in one. */
    prime() {
      if (!("audioSession" in navigator)) return;
      navigator.audioSession.type = "play-and-record";
      audio.srcObject = new MediaStream();
      audio.play().catch(() => {});
    },
    /** Play a track that came from the server. */
    play(track) {
      const element = track.kind === "video" ? picture : audio;
      element.srcObject = new MediaStream([track]);
      return play(element);
    },
    /** Within a touch of the user: try again what was blocked. */
    tap: () => blocked && play(blocked),
    silence() {
      audio.srcObject = null;
      picture.srcObject = null;
      if (blocked) unblock();
      if ("audioSession" in navigator) navigator.audioSession.type = "auto";
    },
    setVolume(volume) {
      audio.volume = volume;
    },
    /** @param id "" for the system's own choice @param onGone called when there is no such loudspeaker any more */
    async setSpeaker(id, onGone = () => {}) {
      if (!canChooseSpeaker()) return;
      try {
        await audio.setSinkId(id);
      } catch {
        onGone();
        await audio.setSinkId("").catch(() => {});
      }
    },
  };
}
