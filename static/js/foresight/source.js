// Where the picture comes from: a file, or the camera, of which a moment before is remembered so that movement shows.

import { Trouble } from "./trouble.js";

const LONGEST = 1024; // pixels of a picture's longer side: the server makes larger ones smaller itself
const APART = 66; // milliseconds between the two pictures of the camera
const LARGEST = 4 << 20; // bytes that the server takes

/** `{image, earlier, earlier_ms}` as the server takes them, and `jpeg` for the history. */
export class Source {
  #video;
  #stream = null;
  #picture = null;
  #before = null;

  constructor(video) {
    this.#video = video;
  }

  get ready() {
    return this.#picture !== null || this.#stream !== null;
  }

  get live() {
    return this.#stream !== null;
  }

  /** Take a file. Throws a Trouble. */
  async file(file) {
    if (!["image/jpeg", "image/png"].includes(file.type)) throw new Trouble("type");
    this.stop();
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Trouble("damaged");
    });
    const canvas = drawn(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    this.#picture = { canvas, ...(await packed(canvas)) };
    return canvas;
  }

  /** Open the camera. Throws a Trouble. */
  async start() {
    if (!navigator.mediaDevices) throw new Trouble("insecure");
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
    } catch (error) {
      const why = { NotAllowedError: "denied", NotFoundError: "missing" };
      throw new Trouble(why[error.name] ?? "camera", { why: error.message });
    }
    this.#picture = null;
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  /** Let go of the camera. */
  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = this.#before = null;
    this.#video.srcObject = null;
  }

  /** What is asked about now. */
  async take() {
    if (!this.#stream) return { image: this.#picture.base64, jpeg: this.#picture.jpeg, canvas: this.#picture.canvas };
    const { videoWidth: width, videoHeight: height } = this.#video;
    this.#before = { canvas: drawn(this.#video, width, height), at: performance.now() };
    await new Promise((resolve) => setTimeout(resolve, APART));
    const canvas = drawn(this.#video, width, height);
    const earlier_ms = Math.min(1000, Math.max(10, performance.now() - this.#before.at));
    const [now, before] = await Promise.all([packed(canvas), packed(this.#before.canvas)]);
    return { image: now.base64, jpeg: now.jpeg, canvas, earlier: before.base64, earlier_ms };
  }
}

function drawn(source, width, height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function packed(canvas) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!blob || blob.size > LARGEST) throw new Trouble("large");
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let n = 0; n < bytes.length; n += 0x8000) text += String.fromCharCode(...bytes.subarray(n, n + 0x8000));
  return { base64: btoa(text), jpeg: blob };
}
