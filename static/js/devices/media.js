// The microphone and the camera: asking for them, and knowing why there are none.

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const VIDEO = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
const PERMISSIONS = { mic: "microphone", camera: "camera" };

/** What the browser does to the sound of the microphone. @param chosen settings */
export const soundOf = ({ echo, noise, gain }) =>
  ({ echoCancellation: echo, noiseSuppression: noise, autoGainControl: gain });

/**
 * A device cannot be had. `device`: mic | camera; `reason`: insecure | policy | denied | dismissed | system | missing |
 * busy.
 */
export class DeviceError extends Error {
  constructor(device, reason, cause) {
    super(`${device}: ${reason}`, { cause });
    this.name = "DeviceError";
    this.device = device;
    this.reason = reason;
  }
}

const BY_NAME = { NotFoundError: "missing", OverconstrainedError: "missing", SecurityError: "policy" };

/**
 * Why a device was refused. Pure.
 * @param error of getUserMedia @param permission granted | denied | prompt | "" (not known)
 * @param allowed whether the page's own policy lets it ask
 */
export function reasonOf(error, permission, allowed) {
  if (error?.name !== "NotAllowedError") return BY_NAME[error?.name] ?? "busy";
  if (!allowed) return "policy";
  if (/system/i.test(error.message)) return "system";
  return permission === "prompt" ? "dismissed" : "denied";
}

/** Whether a header or a frame keeps the page from asking. Browsers that do not tell are trusted. */
const allowedByPolicy = (device) => document.featurePolicy?.allowsFeature(PERMISSIONS[device]) ?? true;

/** @returns {Promise<PermissionStatus|null>} null where the browser does not know the name */
export async function permissionOf(device) {
  try {
    return await navigator.permissions.query({ name: PERMISSIONS[device] });
  } catch {
    return null;
  }
}

async function explained(device, error) {
  const permission = (await permissionOf(device))?.state ?? "";
  return new DeviceError(device, reasonOf(error, permission, allowedByPolicy(device)), error);
}

const audioFor = (id, sound) => ({ ...AUDIO, ...sound, ...(id ? { deviceId: { exact: id } } : {}) });
const videoFor = (id) => ({ ...VIDEO, ...(id ? { deviceId: { exact: id } } : {}) });

function media() {
  if (!navigator.mediaDevices?.getUserMedia) throw new DeviceError("mic", "insecure");
  return navigator.mediaDevices;
}

/** Ask for the chosen devices; where one is not there, for any in its place. Browsers do not tell which one is missing. */
async function ask(devices, wanted, ids) {
  const without = ids.map((_, missing) => ids.map((id, place) => (place === missing ? "" : id)));
  for (const tried of [ids, ...without]) {
    try {
      return await devices.getUserMedia(wanted(...tried));
    } catch (error) {
      if (error?.name !== "OverconstrainedError" || !tried.some(Boolean)) throw error;
    }
  }
  return devices.getUserMedia(wanted());
}

/** @param id "" for the browser's own choice @returns {Promise<MediaStreamTrack>} @throws {DeviceError} */
export async function openMicrophone(id, sound = {}) {
  const devices = media();
  try {
    return (await ask(devices, (one) => ({ audio: audioFor(one, sound) }), [id])).getAudioTracks()[0];
  } catch (error) {
    throw await explained("mic", error);
  }
}

/** @param id "" for the browser's own choice @returns {Promise<MediaStreamTrack>} @throws {DeviceError} */
export async function openCamera(id) {
  const devices = media();
  try {
    return moving((await ask(devices, (one) => ({ video: videoFor(one) }), [id])).getVideoTracks()[0]);
  } catch (error) {
    throw await explained("camera", error);
  }
}

/**
 * Ask for both in one question; without a camera, for the microphone alone.
 * @returns {Promise<{microphone, camera, refused: DeviceError|null}>} `refused` is why there is no camera
 * @throws {DeviceError} without a microphone
 */
export async function openBoth({ microphone: id, camera: cameraId, sound }) {
  const devices = media();
  try {
    const both = (one, other) => ({ audio: audioFor(one, sound), video: videoFor(other) });
    const stream = await ask(devices, both, [id, cameraId]);
    return { microphone: stream.getAudioTracks()[0], camera: moving(stream.getVideoTracks()[0]), refused: null };
  } catch (error) {
    const refused = await explained("camera", error);
    return { microphone: await openMicrophone(id, sound), camera: null, refused };
  }
}

function moving(track) {
  if (track) track.contentHint = "motion";
  return track ?? null;
}

/** @returns {Promise<{microphone: object[], camera: object[], speaker: object[]}>} {id, label} of what is plugged in */
export async function listDevices() {
  const found = { microphone: [], camera: [], speaker: [] };
  const names = { audioinput: "microphone", videoinput: "camera", audiooutput: "speaker" };
  const all = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  for (const { kind, deviceId, label } of all) {
    if (names[kind] && deviceId) found[names[kind]].push({ id: deviceId, label });
  }
  return found;
}
