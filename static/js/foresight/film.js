// The film on the canvas: its first frame at once, guesses while it is made, then frame after frame at its own pace.
// Frames are kept as they came and unpacked when they are shown: the bitmaps of a few films would fill the memory.

const jpegOf = ({ data }) =>
  new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type: "image/jpeg" });

/**
 * Draws on `canvas`; `told` is given what is shown: `{index, fps, confidence}` or `{preview: {step, steps}}`. Films are
 * objects of others: `{frames: [{jpeg, confidence}], fps, total}`, to which frames may still come.
 */
export class Film {
  #canvas;
  #told;
  #shown = null; // the film on the canvas, if it is one
  #turn = 0; // what was unpacked for something that is not shown any more is thrown away
  #timer = 0;

  constructor(canvas, told) {
    this.#canvas = canvas;
    this.#told = told;
  }

  /** Show `source`, and what is made of it, if anything is. @param film without frames, or null */
  begin(source, film = null) {
    this.#rest();
    this.#shown = film;
    this.#draw(source);
  }

  /** Put the next frame into a film, or show a guess of one. */
  async add(film, message) {
    const jpeg = jpegOf(message);
    if (!message.preview) film.frames.push({ jpeg, confidence: message.confidence });
    if (film !== this.#shown) return;
    if (!message.preview && message.frame_index === 1) this.play();
    else if (message.preview ? film.frames.length < 2 : message.frame_index === 0) await this.#paint(jpeg, message.preview);
  }

  /** From the first frame on. */
  play() {
    this.#rest();
    this.#step(0, performance.now());
  }

  /** A film that was made before. */
  show(film) {
    this.#shown = film;
    this.play();
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#turn += 1;
  }

  async #step(index, due) {
    const film = this.#shown;
    const frame = film?.frames[index];
    if (frame) {
      if (!(await this.#paint(frame.jpeg))) return;
      this.#told({ index, fps: film.fps, confidence: frame.confidence });
      index += 1;
    }
    if (!film || index >= film.total) return;
    due = Math.max(due + 1000 / film.fps, performance.now());
    this.#timer = setTimeout(() => this.#step(index, due), due - performance.now());
  }

  /** @returns whether it was still to be shown when it was unpacked */
  async #paint(jpeg, preview = null) {
    const turn = this.#turn;
    const bitmap = await createImageBitmap(jpeg);
    const wanted = turn === this.#turn;
    if (wanted) this.#draw(bitmap, Boolean(preview));
    if (wanted && preview) this.#told({ preview });
    bitmap.close();
    return wanted;
  }

  #draw(source, keepsSize = false) {
    if (!keepsSize) {
      this.#canvas.width = source.width;
      this.#canvas.height = source.height;
    }
    this.#canvas.getContext("2d").drawImage(source, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}
