// The buttons of the call.

import { isReplying, isRunning } from "../state/call.js";
import { byId, setText } from "./dom.js";

export function mount({ store, call, t }) {
  const on = (id, action) => byId(id).addEventListener("click", () => action(store.state));
  on("toggle", (state) => (isRunning(state.call) ? call.stop() : call.start()));
  on("mute", ({ devices }) => call.setMicrophone(devices.muted || !devices.microphone));
  on("camera", (state) => call.setCamera(!isCameraOn(state)));
  on("share", ({ devices }) => (devices.sharing ? call.unshare() : call.share()));
  on("hush", () => call.hush());
  byId("share").hidden = !navigator.mediaDevices?.getDisplayMedia; // phones
  holdable(byId("talk"), call.talk);

  function render(state) {
    renderToggle(state);
    renderMicrophone(state);
    renderCamera(state);
    const { call: { phase }, devices: { sharing } } = state;
    byId("share").disabled = phase !== "connected";
    pressed("share", sharing, "on");
    setText(byId("share-text"), t(sharing ? "controls.stop_sharing" : "controls.share"));
    byId("hush").disabled = !isReplying(state.call);
  }

  function renderToggle({ call: slice, problems: { problem } }) {
    const toggle = byId("toggle");
    const running = isRunning(slice);
    const cancels = ["asking", "connecting"].includes(slice.phase);
    setText(toggle, t(cancels ? "controls.cancel" : running ? "controls.stop" : "controls.start"));
    toggle.classList.toggle("primary", !running);
    toggle.classList.toggle("danger", running);
    toggle.disabled = Boolean(problem?.fatal) && !running;
  }

  function renderMicrophone({ call: { phase }, devices: { microphone, muted, talking, chosen: { pushToTalk } } }) {
    const silent = muted || (phase === "connected" && !microphone);
    byId("mute").disabled = phase !== "connected";
    pressed("mute", muted, "off");
    const key = muted ? "controls.unmute" : silent ? "controls.microphone_on" : "controls.mute";
    setText(byId("mute-text"), t(key));
    byId("mute-icon").setAttribute("href", silent ? "#i-mic-off" : "#i-mic");
    byId("talk").hidden = !pushToTalk;
    byId("talk").disabled = phase !== "connected" || !microphone || muted;
    pressed("talk", talking, "on");
    setText(byId("talk-text"), t(talking ? "controls.release" : "controls.hold"));
  }

  function renderCamera(state) {
    const off = !isCameraOn(state);
    byId("camera").disabled = !["idle", "lost", "connected"].includes(state.call.phase);
    pressed("camera", off, "off");
    const key = isRunning(state.call) ? (off ? "controls.camera_on" : "controls.camera_off")
      : off ? "controls.without_camera" : "controls.with_camera";
    setText(byId("camera-text"), t(key));
    byId("camera-icon").setAttribute("href", off ? "#i-camera-off" : "#i-camera");
  }

  function pressed(id, is, look) {
    byId(id).classList.toggle(look, is);
    byId(id).setAttribute("aria-pressed", String(is));
  }

  store.subscribe(render);
  render(store.state);
}

/** In a call: it is being sent. Before one: it will be asked for. */
const isCameraOn = ({ call, devices }) =>
  isRunning(call) ? devices.camera && !devices.cameraOff : devices.chosen.withCamera;

/** A button that works while it is held: by mouse, finger, pen, or a key. Whatever ends the hold lets go of it. */
export function holdable(button, talk) {
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || button.disabled) return;
    button.setPointerCapture?.(event.pointerId);
    event.preventDefault(); // no long press menu, no selection
    button.focus({ preventScroll: true });
    talk.press();
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(type, talk.release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.repeat) return; // the space bar is everybody's: see keys.js
    event.preventDefault();
    talk.press();
  });
  button.addEventListener("keyup", (event) => event.key === "Enter" && talk.release());
  window.addEventListener("blur", talk.release);
  document.addEventListener("visibilitychange", () => document.hidden && talk.release());
}
