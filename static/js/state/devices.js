// Microphone, camera, screen and loudspeaker: which there are, which are in use, and how loud.

const initial = {
  microphone: false, // it is being sent
  muted: false,
  camera: false, // there is one in this call
  cameraOff: false,
  sharing: false, // the screen
  blocked: false, // the browser plays nothing before the user has touched the page
};

const handlers = {
  "client.connecting": () => initial,
  "client.media": (slice, event) => ({ ...slice, microphone: event.microphone, camera: event.camera }),
  "client.stopped": () => initial,
  "client.failed": () => initial,
  "client.muted": (slice, event) => ({ ...slice, muted: event.muted }),
  "client.camera_off": (slice, event) => ({ ...slice, cameraOff: event.off }),
  "client.sharing": (slice, event) => ({ ...slice, sharing: event.sharing }),
  "client.audio_blocked": (slice, event) => ({ ...slice, blocked: event.blocked }),
};

export const devices = { initial, handlers };
