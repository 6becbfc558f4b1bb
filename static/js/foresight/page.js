// The page: a picture or the camera, a question, and what comes next in words and as a film.

import { t } from "../i18n/index.js";
import { dressed, seconds } from "./dress.js";
import { Film } from "./film.js";
import { fetchVideo, key, predict, watch } from "./server.js";
import { Source } from "./source.js";
import { told } from "./trouble.js";

const at = (id) => document.getElementById(id);
const MOST_KEPT = 12;

const ready = dressed();
const source = new Source(at("live"));
const film = new Film(at("film"), shown);
let running = null; // {cancel}: what is being asked, from the wish on
let visit = null; // the prediction on the screen
const visits = []; // {jpeg, url, prompt, text, frames, fps, total, video, over}, the newest first

function say(state, values) {
  at("state").textContent = t(`foresight.state.${state}`, values);
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function shown({ index, fps, confidence, preview }) {
  const badge = at("badge");
  badge.hidden = false;
  if (preview) badge.textContent = t("foresight.badge.guess", preview);
  else if (!index) badge.textContent = t("foresight.badge.now");
  else {
    const values = { seconds: seconds(index / fps), percent: Math.round(100 * confidence) };
    badge.textContent = t(`foresight.badge.${confidence > 0 ? "sure" : "ahead"}`, values);
  }
}

function fact(name, value) {
  const facts = at("facts");
  for (const old of facts.querySelectorAll(`[data-name="${name}"]`)) old.remove();
  for (const [kind, text] of [["dt", t(`foresight.fact.${name}`)], ["dd", value]]) {
    const node = document.createElement(kind);
    node.dataset.name = name;
    node.textContent = text;
    facts.append(node);
  }
}

/** What a prediction says: kept of it in any case, and shown as long as it is the one on the screen. */
function tell(mine, message) {
  KEPT[message.type]?.(mine, message);
  if (mine === visit) SHOWN[message.type]?.(mine, message);
}

function begins(mine, { fps, total_frames }) {
  Object.assign(mine, { fps, total: total_frames, frames: [] });
}

const ends = (mine) => { mine.over = true; };

function fails(mine, { type, error }) {
  if (type === "video_failed") ends(mine); // it may be the last that the server says
  problem(t(`foresight.problem.${type}`, { why: error.message }));
}

const KEPT = {
  thinking_start: begins,
  video_restarted: begins,
  text_chunk(mine, { text }) { mine.text += text; },
  video_frame: (mine, message) => film.add(mine, message),
  video_complete(mine, message) { mine.video = message.video_url; },
  video_failed: fails,
  text_failed: fails,
  cancelled: ends,
  thinking_complete: ends,
};

function planned(mine, message) {
  if (message.method) fact("how", made(message));
  if (message.described_by) fact("words_by", message.described_by);
  fact("video", t("foresight.size", { width: message.width, height: message.height, total: message.total_frames }));
  if (message.reason) fact("smaller", message.reason);
}

const SHOWN = {
  thinking_start: planned,
  video_restarted: planned,
  text_chunk(mine) { at("text").textContent = mine.text; },
  video_frame(mine, { preview, frame_index: index, total_frames: total }) {
    if (preview) return;
    at("progress").value = (index + 1) / total;
    if (index) say("frame", { number: index + 1, total });
  },
  video_complete(mine, message) {
    say("done", { seconds: seconds(message.horizon_s) });
    at("again").hidden = false;
    offer(mine);
  },
  cancelled: () => say("stopped"),
  thinking_complete(mine, message) {
    fact("first_words", t("foresight.ms", { value: message.first_text_ms ?? "–" }));
    fact("first_frame", t("foresight.ms", { value: message.first_new_frame_ms ?? "–" }));
  },
};

function made({ method, model }) {
  const how = t(`foresight.method.${method}`);
  return model ? t("foresight.made_by", { how, model }) : how;
}

async function offer(mine) {
  try {
    const url = await fetchVideo(mine.video);
    if (mine !== visit) return URL.revokeObjectURL(url);
    at("save").href = url;
    at("save").hidden = false;
  } catch (error) {
    problem(t("foresight.problem.no_file", { why: told(error) }));
  }
}

function withdraw() {
  URL.revokeObjectURL(at("save").href);
  at("save").hidden = true;
}

async function ask(event) {
  event?.preventDefault();
  if (running) return;
  problem("");
  const mine = running = { cancel() { this.cancelled = true; }, cancelled: false };
  busy();
  try {
    const { jpeg, canvas, ...taken } = await source.take();
    const prompt = at("prompt").value.trim();
    const asked = visit = { jpeg, text: "", frames: [], fps: 15, total: 1, prompt, over: false };
    withdraw();
    at("again").hidden = true;
    at("live").hidden = true;
    at("film").hidden = false;
    at("text").textContent = "";
    at("facts").replaceChildren();
    at("progress").value = 0;
    film.begin(canvas, asked);
    at("film").setAttribute("aria-label", t("foresight.film"));
    say("looking");
    const begun = await predict({ ...taken, prompt, quality: at("quality").value });
    const stop = watch(begun.session_id, (message) => tell(asked, message), () => ended(asked));
    mine.cancel = stop;
    if (mine.cancelled) stop(); // while the server had not answered
  } catch (error) {
    running = null;
    busy();
    if (error.status === 401) return askKey();
    problem(told(error));
  }
}

function busy() {
  at("ask").disabled = Boolean(running) || !source.ready;
  at("cancel").hidden = !running;
}

/** Nothing more comes of it. */
function ended(mine) {
  running = null;
  busy();
  mine.total = mine.frames.length; // nobody waits for those that were not made
  if (!mine.over) {
    problem(t("foresight.problem.lost"));
    if (mine === visit) say("stopped");
  }
  remember(mine);
}

function remember(mine) {
  visits.unshift(mine);
  mine.url = URL.createObjectURL(mine.jpeg); // of its own: one picture may be asked about more than once
  at("none").hidden = true;
  const row = document.createElement("li");
  const button = document.createElement("button");
  const image = Object.assign(document.createElement("img"), { src: mine.url, alt: "" });
  const words = document.createElement("span");
  words.textContent = mine.prompt || mine.text || t("foresight.wordless");
  button.append(image, words);
  button.type = "button";
  button.onclick = () => running || again(mine);
  row.append(button);
  at("history").prepend(row);
  if (visits.length > MOST_KEPT) {
    URL.revokeObjectURL(visits.pop().url);
    at("history").lastChild.remove();
  }
}

async function again(mine) {
  visit = mine;
  at("live").hidden = true;
  at("film").hidden = false;
  at("text").textContent = mine.text;
  at("again").hidden = !mine.frames.length;
  withdraw();
  if (mine.video) offer(mine);
  if (mine.frames.length) return film.show(mine);
  const picture = await createImageBitmap(mine.jpeg);
  if (mine === visit) film.begin(picture);
  return undefined;
}

/** What is on the screen is no prediction. */
function leave() {
  visit = null;
  withdraw();
  at("badge").hidden = at("again").hidden = true;
}

function askKey() {
  at("key").showModal();
  at("key").onclose = () => {
    key.set(at("key-text").value.trim());
    at("key-text").value = "";
    if (key.get()) ask();
  };
}

async function choose(file) {
  await ready;
  problem("");
  try {
    const canvas = await source.file(file);
    at("camera").setAttribute("aria-pressed", "false");
    at("live").hidden = true;
    at("film").hidden = false;
    leave();
    film.begin(canvas);
    at("source").textContent = file.name;
    say("ready");
  } catch (error) {
    problem(told(error));
  }
  busy();
}

async function toggleCamera() {
  await ready;
  problem("");
  try {
    if (source.live) source.stop();
    else await source.start();
  } catch (error) {
    problem(told(error));
  }
  at("camera").setAttribute("aria-pressed", String(source.live));
  at("live").hidden = !source.live;
  at("film").hidden = source.live;
  at("badge").hidden = true;
  at("source").textContent = t(source.live ? "foresight.camera" : "foresight.drop");
  busy();
}

const form = at("form");
form.addEventListener("submit", ask);
at("file").addEventListener("change", (event) => event.target.files[0] && choose(event.target.files[0]));
at("camera").addEventListener("click", toggleCamera);
at("cancel").addEventListener("click", () => running?.cancel());
at("again").addEventListener("click", () => film.play());
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    form.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  });
}
