// The film on the canvas: its first frame at once, guesses while it is made, then frame after frame at its own pace.

/** Draws on `canvas`; `told` is given what is shown: `{index, total, confidence}` or `{preview: {step, steps}}`. */
export class Film {
  #canvas;
  #told;
  #frames = [];
  #fps = 15;
  #total = 1;
  #timer = 0;

  constructor(canvas, told) {
    this.#canvas = canvas;
    this.#told = told;
  }

  get made() {
    return this.#frames.length;
  }

  /** Show `source`, before anything is known. */
  begin(source) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#frames = [];
    this.#draw(source);
  }

  /** What is going to be made. */
  plan({ fps, total_frames }) {
    this.#fps = fps;
    this.#total = total_frames;
    this.#frames = [];
  }

  /** The next frame, or a guess of one. Bitmaps are unpacked in the order in which they come. */
  async add(message) {
    const bytes = Uint8Array.from(atob(message.data), (letter) => letter.charCodeAt(0));
    const unpacking = createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    if (message.preview) {
      const guess = await unpacking;
      if (this.#frames.length < 2) {
        this.#draw(guess, true);
        this.#told({ preview: message.preview });
      }
      return;
    }
    const frame = { unpacking, confidence: message.confidence };
    this.#frames.push(frame);
    if (message.frame_index === 0) this.#draw(await unpacking);
    if (message.frame_index === 1) this.play();
  }

  /** From the first frame on. */
  play() {
    clearTimeout(this.#timer);
    this.#step(0, performance.now());
  }

  /** A film that was made before. */
  show(frames, fps, total) {
    this.#frames = frames;
    this.#fps = fps;
    this.#total = total;
    this.play();
  }

  get frames() {
    return this.#frames;
  }

  async #step(index, due) {
    const frames = this.#frames;
    const frame = frames[index];
    if (frame) {
      const bitmap = await frame.unpacking;
      if (frames !== this.#frames) return;
      this.#draw(bitmap);
      this.#told({ index, total: this.#total, confidence: frame.confidence });
      index += 1;
    }
    if (index >= this.#total) return;
    due = Math.max(due + 1000 / this.#fps, performance.now());
    this.#timer = setTimeout(() => this.#step(index, due), due - performance.now());
  }

  #draw(source, keepsSize = false) {
    if (!keepsSize) {
      this.#canvas.width = source.width;
      this.#canvas.height = source.height;
    }
    this.#canvas.getContext("2d").drawImage(source, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}
