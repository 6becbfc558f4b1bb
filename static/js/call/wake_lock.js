// While a call runs the screen stays on. A device that does not want to (a low battery) is not asked twice.

import { isRunning } from "../state/call.js";

export function mount({ store }) {
  if (!("wakeLock" in navigator)) return;
  let lock = null;
  let asking = false;

  async function update() {
    const wanted = isRunning(store.state.call) && document.visibilityState === "visible";
    if (!wanted) {
      lock?.release().catch(() => {});
      lock = null;
    } else if (!asking && (!lock || lock.released)) {
      asking = true;
      try {
        lock = await navigator.wakeLock.request("screen");
        if (!isRunning(store.state.call)) lock.release().catch(() => {});
      } catch {
        lock = null;
      }
      asking = false;
    }
  }

  let running = false;
  store.subscribe(({ call }) => {
    if (isRunning(call) === running) return;
    running = isRunning(call);
    update();
  });
  document.addEventListener("visibilitychange", update); // a hidden page loses it
}
