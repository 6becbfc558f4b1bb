// Tab "Measure": how far the returned picture is behind, exactly. For five seconds the camera is replaced by a canvas
// with a number on it, and the number is read again from the picture that comes back.

import { h } from "../view/dom.js";
import { NUMBERS, SQUARES, numberOf, squaresOf } from "./stamp.js";
import { difference, read } from "./stats.js";
import { spread } from "./waterfall.js";

const SECONDS = 5;
const [WIDTH, HEIGHT, RATE] = [640, 480, 30];
const SQUARE = Math.floor(WIDTH / (SQUARES + 2));
const LEFT = (WIDTH - SQUARE * SQUARES) / 2;
const TOP = (HEIGHT - SQUARE * 2) / 2;
/** Fewer readings tell nothing. */
const ENOUGH = 10;

export function create({ call, t }) {
  const result = h("p", { class: "figures", id: "measured", role: "status" });
  const estimate = h("p", { class: "figures" });
  const picture = h("video", { class: "measure-picture", playsinline: "", hidden: true, "aria-hidden": "true" });
  picture.muted = true;
  const button = h("button", { type: "button", class: "button primary", id: "measure", onclick: run }, t("measure.start"));
  const element = h("div", {}, h("p", {}, t("measure.what")), button, result, estimate, picture);

  async function run() {
    const way = wayOf(call.peer);
    if (!way) {
      result.textContent = t("measure.no_picture");
      return;
    }
    button.disabled = true;
    result.textContent = t("measure.running", { seconds: SECONDS });
    try {
      const found = await measure(way, picture);
      result.textContent = found.times.length < ENOUGH ? t("measure.unreadable")
        : t("measure.result", figures(spread(found.times)));
      estimate.textContent = found.estimate === null ? "" : t("measure.estimate", { value: Math.round(found.estimate) });
    } catch {
      result.textContent = t("measure.failed"); // the call has ended meanwhile
    } finally {
      button.disabled = false;
    }
  }

  return { element };
}

const figures = ({ median, p95, count }) => ({ median: Math.round(median), p95: Math.round(p95), count });

/** The sender of the camera's picture and the receiver of the annotated one; null where one is missing. */
function wayOf(peer) {
  const camera = peer?.getTransceivers().find(({ sender, receiver, currentDirection }) =>
    (sender.track?.kind ?? receiver.track?.kind) === "video" && currentDirection === "sendrecv");
  return camera ? { peer, sender: camera.sender, track: camera.receiver.track } : null;
}

async function measure({ peer, sender, track }, picture) {
  const camera = sender.track;
  const stamps = stamper();
  const reader = readerOf(picture, track, stamps.drawn);
  try {
    await sender.replaceTrack(stamps.track);
    const before = read(await peer.getStats(), performance.now());
    await new Promise((done) => setTimeout(done, SECONDS * 1000));
    const after = read(await peer.getStats(), performance.now());
    return { times: reader.times, estimate: estimateOf(difference(before, after), reader.waits) };
  } finally {
    stamps.stop();
    reader.stop();
    // The user may have chosen another camera meanwhile: then that one stays.
    if (sender.track === stamps.track) await sender.replaceTrack(camera?.readyState === "live" ? camera : null);
  }
}

/** What the parts say that can always be seen: coding, sending, the way there and back, decoding, waiting for the screen. */
function estimateOf({ encodeMs, sendMs, rttMs, processingMs }, waits) {
  if (encodeMs === null || rttMs === null) return null;
  return encodeMs + (sendMs ?? 0) + rttMs + (spread(waits)?.median ?? processingMs ?? 0);
}

/** A picture with a number on it that grows with every frame. `drawn`: number → when it was drawn. */
function stamper() {
  const canvas = h("canvas", { width: String(WIDTH), height: String(HEIGHT) });
  const brush = canvas.getContext("2d");
  const drawn = new Map();
  let number = 0;
  const draw = () => {
    number = (number + 1) % NUMBERS;
    brush.fillStyle = "#808080";
    brush.fillRect(0, 0, WIDTH, HEIGHT);
    squaresOf(number).forEach((white, place) => {
      brush.fillStyle = white ? "#fff" : "#000";
      brush.fillRect(LEFT + SQUARE * place, TOP, SQUARE, SQUARE * 2);
    });
    drawn.set(number, performance.now());
  };
  draw();
  const timer = setInterval(draw, 1000 / RATE);
  const [track] = canvas.captureStream(RATE).getVideoTracks();
  return { track, drawn, stop() { clearInterval(timer); track.stop(); } };
}

/** Reads the numbers on the frames of a track as they are shown. */
function readerOf(picture, track, drawn) {
  const canvas = h("canvas", { width: String(WIDTH), height: String(HEIGHT) });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const times = [];
  const waits = [];
  const seen = new Set();
  let stopped = false;

  function look(now, frame = {}) {
    if (stopped) return;
    brush.drawImage(picture, 0, 0, WIDTH, HEIGHT);
    const light = brightnessOf(brush);
    const number = numberOf(light) ?? numberOf([...light].reverse()); // a server may send the picture mirrored
    const shown = frame.expectedDisplayTime ?? now;
    if (number !== null && drawn.has(number) && !seen.has(number)) {
      seen.add(number);
      times.push(shown - drawn.get(number));
      if (frame.receiveTime) waits.push(shown - frame.receiveTime);
    }
    next();
  }

  function next() {
    if (picture.requestVideoFrameCallback) picture.requestVideoFrameCallback(look);
    else requestAnimationFrame(look);
  }

  picture.hidden = false;
  picture.srcObject = new MediaStream([track]);
  picture.play().catch(() => {});
  next();
  return { times, waits, stop() {
    stopped = true;
    picture.srcObject = null;
    picture.hidden = true;
  } };
}

/** How bright each square is: the mean of a patch in its middle. */
function brightnessOf(brush) {
  return Array.from({ length: SQUARES }, (_, place) => {
    const { data } = brush.getImageData(LEFT + SQUARE * (place + 0.35), TOP + SQUARE * 0.7, SQUARE * 0.3, SQUARE * 0.6);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) sum += data[at] * 0.3 + data[at + 1] * 0.59 + data[at + 2] * 0.11;
    return sum / (data.length / 4);
  });
}
