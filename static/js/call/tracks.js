// The user's microphone, camera and screen as tracks of a call: opened, swapped, released, and replaced when unplugged.
// A device that is switched off is released, so that its light goes out.

import { DeviceError, openBoth, openCamera, openMicrophone, soundOf } from "../devices/media.js";
import { openScreen } from "../devices/screen.js";

/** After muting the microphone stays at hand for so long: to tell who goes on speaking, and for who unmutes at once. */
export const LINGER_MS = 3000;
const OPEN = { microphone: (id, sound) => openMicrophone(id, sound), camera: (id) => openCamera(id) };
const CODE = { microphone: "mic", camera: "camera" };

/**
 * @param store see state/store.js
 * @param replace (kind, track|null) puts a track into the call, as far as there is one
 * @param levels see devices/levels.js @param tell (code, values, action) makes a notice
 */
export function createTracks({ store, replace, levels, tell }) {
  const { dispatch } = store;
  const tracks = { microphone: null, camera: null, screen: null };
  const wanted = { microphone: 0, camera: 0 }; // the newest request: what an earlier one opens is not taken
  let lingering = null; // {track, timer}: muted, and not released yet
  let opened = 0; // times that devices were opened: what is left of an earlier time is released

  const chosenId = (kind) => store.state.devices.chosen[kind]?.id ?? "";
  const sound = () => soundOf(store.state.settings);
  const isMuted = () => store.state.devices.muted;
  const hears = () => !store.state.devices.chosen.pushToTalk || store.state.devices.talking;

  /** @returns whether they are still wanted @throws {DeviceError} without a microphone */
  async function open({ typing }) {
    const mine = ++opened;
    const { microphone: mic, camera: cam, withCamera } = store.state.devices.chosen;
    let found = { microphone: null, camera: null, refused: null };
    if (!typing && withCamera) found = await openBoth({ microphone: mic?.id, camera: cam?.id, sound: sound() });
    else if (!typing) found.microphone = await openMicrophone(mic?.id, sound());
    if (mine !== opened) {
      [found.microphone, found.camera].forEach((track) => track?.stop());
      return false;
    }
    adopt("microphone", found.microphone);
    adopt("camera", found.camera);
    if (found.refused) tell(`camera_${found.refused.reason}`);
    for (const [kind, choice] of [["microphone", mic], ["camera", cam]]) checkChoice(kind, choice);
    return true;
  }

  /** The browser takes another device where the chosen one is not there. */
  function checkChoice(kind, choice) {
    const got = tracks[kind]?.getSettings?.().deviceId;
    if (choice && got && got !== choice.id) {
      tell(`${CODE[kind]}_gone`, { name: choice.label, other: tracks[kind].label });
    }
  }

  /** Make a track the one of its kind; the one before is released. */
  function adopt(kind, track) {
    const before = tracks[kind];
    tracks[kind] = track;
    if (before && before !== track) before.stop();
    if (kind === "microphone") {
      if (track) track.enabled = hears();
      levels.microphone(track);
    }
    track?.addEventListener("ended", () => tracks[kind] === track && gone(kind, track));
    const { devices } = store.state;
    dispatch({ type: "client.media", microphone: devices.microphone, camera: devices.camera,
      [kind]: Boolean(track), names: track ? { [kind]: track.label } : {} });
  }

  /** Unplugged, or taken away by the system: go on with what there is. */
  async function gone(kind, track) {
    try {
      if (!(await take(kind, ""))) return;
      tell(`${CODE[kind]}_gone`, { name: track.label, other: tracks[kind]?.label ?? "" });
    } catch {
      adopt(kind, null);
      await replace(kind, null);
      tell(`${CODE[kind]}_lost`, { name: track.label });
    }
  }

  /** Open a device and put it into the call. @returns whether it is still wanted @throws {DeviceError} */
  async function take(kind, id) {
    const [mine, call] = [++wanted[kind], opened];
    const track = await OPEN[kind](id, sound());
    if (mine !== wanted[kind] || call !== opened) {
      track.stop();
      return false;
    }
    adopt(kind, track);
    await replace(kind, track);
    return true;
  }

  async function setMicrophone(on) {
    if (on) return unmute();
    const track = tracks.microphone;
    wanted.microphone += 1;
    tracks.microphone = null; // what it hears is nobody's business from here on
    dispatch({ type: "client.muted", muted: true });
    levels.microphone(null);
    if (track) linger(track);
    await replace("microphone", null);
    return undefined;
  }

  function linger(track) {
    const stopListening = levels.whoSpeaks(track, () => tell("muted_speaking"));
    const timer = setTimeout(() => leave(), LINGER_MS);
    lingering = { track, leave: () => { clearTimeout(timer); stopListening(); } };
  }

  /** @param keep the track is needed again */
  function leave(keep = false) {
    const { track, leave: end } = lingering ?? {};
    lingering = null;
    end?.();
    if (!keep) track?.stop();
    return track?.readyState === "live" ? track : null;
  }

  async function unmute() {
    dispatch({ type: "client.muted", muted: false });
    const track = leave(true);
    try {
      if (!track) await take("microphone", chosenId("microphone"));
      else {
        wanted.microphone += 1;
        adopt("microphone", track);
        await replace("microphone", track);
      }
    } catch (error) {
      dispatch({ type: "client.muted", muted: store.state.devices.microphone });
      refuse(error);
    }
  }

  async function setCamera(on) {
    if (on) {
      try {
        if (await take("camera", chosenId("camera"))) dispatch({ type: "client.camera_off", off: false });
      } catch (error) {
        refuse(error);
      }
      return;
    }
    wanted.camera += 1;
    const track = tracks.camera;
    tracks.camera = null;
    track?.stop();
    dispatch({ type: "client.camera_off", off: true });
    await replace("camera", null);
  }

  function refuse(error) {
    if (!(error instanceof DeviceError)) throw error;
    tell(`${error.device}_${error.reason}`, {}, null, "notice");
  }

  /** Another device was chosen: it takes the place of the one in use, if one is. */
  async function swap(kind) {
    if (!tracks[kind]) return;
    try {
      await take(kind, chosenId(kind));
    } catch (error) {
      refuse(error);
    }
  }

  /** @returns whether a screen was chosen */
  async function share(onEnded) {
    const call = opened;
    const screen = await openScreen();
    if (!screen) return false;
    if (call !== opened) {
      screen.stop();
      return false;
    }
    screen.addEventListener("ended", onEnded); // by the browser's own button
    tracks.screen = screen;
    return true;
  }

  async function unshare() {
    tracks.screen?.stop();
    tracks.screen = null;
    await replace("screen", null);
  }

  function release() {
    opened += 1;
    leave();
    levels.microphone(null);
    for (const kind of Object.keys(tracks)) {
      tracks[kind]?.stop();
      tracks[kind] = null;
    }
  }

  /** The talk button is held, or no more: the microphone stays open between, so that no word is cut off. */
  function listen(on) {
    if (tracks.microphone) tracks.microphone.enabled = on;
  }

  return { open, release, setMicrophone, setCamera, swap, share, unshare, listen, isMuted, get all() { return { ...tracks }; } };
}
