// The page in English. Flat keys, in blocks by their prefix.

export default {
  "status.idle": "Idle",
  "status.connecting": "Connecting",
  "status.lost": "Disconnected",
  "status.listening": "Listening",
  "status.hearing": "Hearing you",
  "status.thinking": "Thinking",
  "status.speaking": "Speaking",
  "status.muted": "Muted",
  "status.ready": "Ready",
  "status.latency": "{ms} ms to first audio",
  "status.fps": "{count} fps",
  "status.round_trip": "{ms} ms away",

  "controls.start": "Start",
  "controls.stop": "Stop",
  "controls.cancel": "Cancel",
  "controls.mute": "Mute",
  "controls.unmute": "Unmute",
  "controls.no_microphone": "No microphone",
  "controls.camera_off": "Camera off",
  "controls.camera_on": "Camera on",
  "controls.no_camera": "No camera",
  "controls.share": "Share screen",
  "controls.stop_sharing": "Stop sharing",

  "notice.dismiss": "Dismiss",
  "notice.screen_failed": "The screen could not be shared.",
  "notice.microphone_gone": "The microphone was taken away. Plug it in again, then press Stop and Start.",

  "key.use": "Use this key",
  "key.checking": "Checking…",
};
