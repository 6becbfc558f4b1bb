// The call in the system's own controls: headset buttons, the lock screen, the picture in picture.

import { isRunning } from "../state/call.js";

export function mount({ store, call }) {
  const session = navigator.mediaSession;
  if (!session) return;

  const actions = {
    hangup: () => call.stop(),
    togglemicrophone: () => call.setMicrophone(store.state.devices.muted),
    togglecamera: () => call.setCamera(store.state.devices.cameraOff),
    stop: () => call.stop(),
    pause: () => call.hush(),
    play: () => {}, // the assistant speaks when it has something to say
  };

  /** Each by itself: a browser throws at an action that it does not know. */
  function handle(on) {
    for (const [name, action] of Object.entries(actions)) {
      try {
        session.setActionHandler(name, on ? action : null);
      } catch {
        // it goes without
      }
    }
  }

  let running = false;
  let before = "";
  store.subscribe(({ call: slice, devices: { microphone, muted, camera, cameraOff } }) => {
    if (isRunning(slice) !== running) {
      running = isRunning(slice);
      handle(running);
      session.metadata = running && "MediaMetadata" in window ? new MediaMetadata({ title: "visavis", artist: location.host }) : null;
      session.playbackState = running ? "playing" : "none";
    }
    const now = `${microphone && !muted} ${camera && !cameraOff}`;
    if (now === before) return;
    before = now;
    session.setMicrophoneActive?.(microphone && !muted);
    session.setCameraActive?.(camera && !cameraOff);
  });
}
