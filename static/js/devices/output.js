// What is heard and seen of the assistant: one audio element, one video element, each with a stream of its own.

/**
 * @param audio HTMLAudioElement @param picture HTMLVideoElement
 * @param dispatch is told when the browser wants to be touched before it plays, and when it has been
 */
export function createOutput({ audio, picture, dispatch }) {
  let blocked = null;

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
    },
  };
}
