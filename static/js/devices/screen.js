// A screen, a window or a tab that the user chooses to show.

/** @returns {MediaStreamTrack|null} null when they choose none. Slides and text need few pictures, but sharp ones. */
export async function openScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 5, max: 10 } }, audio: false });
    const track = stream.getVideoTracks()[0];
    track.contentHint = "detail";
    return track;
  } catch (error) {
    if (error?.name === "NotAllowedError" || error?.name === "AbortError") return null;
    throw error;
  }
}
