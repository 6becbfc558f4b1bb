// What mends itself: a permission that is given, a device that is plugged in, a network that is back.

import { watchDevices } from "../devices/pickers.js";
import { permissionOf } from "../devices/media.js";
import { isRunning } from "../state/call.js";

const MENDED_BY_PERMISSION = new Set(["mic_denied", "mic_dismissed"]);

export function mount({ store, call, tell }) {
  const codeNow = () => store.state.problems.problem?.code;

  watchDevices({ store, mended(kind) {
    const { devices, call: slice } = store.state;
    if (kind !== "microphone") return;
    if (codeNow() === "mic_missing") call.retry();
    else if (slice.phase === "connected" && !slice.typing && !devices.microphone && !devices.muted) call.setMicrophone(true);
  } });

  let watching = null;
  async function watchPermission() {
    watching ??= await permissionOf("mic");
    if (watching) {
      watching.onchange = () => watching.state === "granted" && MENDED_BY_PERMISSION.has(codeNow()) && call.retry();
    }
  }

  window.addEventListener("online", () => store.state.call.phase === "reconnecting" && call.reconnect());

  let saidBlind = false;
  store.subscribe((state, events) => {
    if (events?.some(({ type }) => type === "session.moved")) call.move();
    if (MENDED_BY_PERMISSION.has(codeNow())) watchPermission();
    if (!isRunning(state.call)) saidBlind = false;
    const eyes = state.engines.rows?.find(({ stage }) => stage === "vision");
    if (!saidBlind && state.call.phase === "connected" && state.devices.camera && eyes && eyes.ok === false && !eyes.wanted) {
      saidBlind = true;
      tell("engine_missing", { reason: eyes.reason || eyes.engine });
    }
  });
}
