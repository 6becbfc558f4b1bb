// The buttons of the call.

import { canShareScreen } from "../devices/screen.js";
import { isReplying, isRunning } from "../state/call.js";
import { byId, setText } from "./dom.js";

export function mount({ store, call, t }) {
  const on = (id, action) => byId(id).addEventListener("click", () => action(store.state));
  on("toggle", (state) => (isRunning(state.call) ? call.stop() : call.start()));
  on("mute", ({ devices }) => call.setMicrophone(devices.muted));
  on("camera", ({ devices }) => call.setCamera(devices.cameraOff));
  on("share", ({ devices }) => (devices.sharing ? call.unshare() : call.share()));
  on("hush", () => call.hush());
  byId("share").hidden = !canShareScreen();

  function render(state) {
    const running = isRunning(state.call);
    const { phase, typing } = state.call;
    const { microphone, muted, camera, cameraOff, sharing } = state.devices;

    const toggle = byId("toggle");
    setText(toggle, t(phase === "connecting" ? "controls.cancel" : running ? "controls.stop" : "controls.start"));
    toggle.classList.toggle("primary", !running);
    toggle.classList.toggle("danger", running);

    const dumb = typing && running;
    byId("mute").disabled = !microphone;
    byId("mute").classList.toggle("off", muted);
    setText(byId("mute-text"), t(dumb ? "controls.no_microphone" : muted ? "controls.unmute" : "controls.mute"));
    byId("mute-icon").setAttribute("href", muted || dumb ? "#i-mic-off" : "#i-mic");

    const blind = phase === "connected" && !camera;
    byId("camera").disabled = !camera;
    byId("camera").classList.toggle("off", cameraOff);
    setText(byId("camera-text"), t(blind ? "controls.no_camera" : cameraOff ? "controls.camera_on" : "controls.camera_off"));
    byId("camera-icon").setAttribute("href", cameraOff || blind ? "#i-camera-off" : "#i-camera");

    byId("share").disabled = phase !== "connected" || typing;
    byId("share").classList.toggle("on", sharing);
    byId("share").setAttribute("aria-pressed", String(sharing));
    setText(byId("share-text"), t(sharing ? "controls.stop_sharing" : "controls.share"));

    byId("hush").disabled = !isReplying(state.call);
  }

  store.subscribe(render);
  render(store.state);
}
