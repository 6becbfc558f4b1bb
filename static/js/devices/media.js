// The microphone and the camera: asking for them, and knowing why there are none.

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** There is no microphone to be had. `reason`: insecure | denied | missing | busy. */
export class NoMicrophone extends Error {
  constructor(reason, cause) {
    super(`No microphone: ${reason}`, { cause });
    this.name = "NoMicrophone";
    this.reason = reason;
  }
}

const REASONS = {
  NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing",
};
const reasonOf = (error) => REASONS[error?.name] ?? "busy";

const CAMERA_NOTICES = {
  denied: "The camera is blocked for this page, so the assistant hears you but does not see you.",
  missing: "No camera was found, so the assistant hears you but does not see you.",
  busy: "The camera is in use elsewhere, so the assistant hears you but does not see you.",
};

/**
 * Ask for both devices in one prompt; without a camera, for the microphone alone.
 * @returns {{stream: MediaStream, notice: string|null}}
 * @throws {NoMicrophone}
 */
export async function openDevices() {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) throw new NoMicrophone("insecure");
  try {
    return { stream: await devices.getUserMedia({ audio: AUDIO, video: VIDEO }), notice: null };
  } catch (withCamera) {
    try {
      return { stream: await devices.getUserMedia({ audio: AUDIO }), notice: CAMERA_NOTICES[reasonOf(withCamera)] };
    } catch (error) {
      throw new NoMicrophone(reasonOf(error), error);
    }
  }
}

export const stopTracks = (stream) => stream?.getTracks().forEach((track) => track.stop());
