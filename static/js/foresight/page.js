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
let cancel = null;
let visit = null; // the prediction on the screen
const visits = [];

function say(state, values) {
  at("state").textContent = t(`foresight.state.${state}`, values);
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function shown({ index, total, confidence, preview }) {
  const badge = at("badge");
  badge.hidden = false;
  if (preview) badge.textContent = t("foresight.badge.guess", preview);
  else if (!index) badge.textContent = t("foresight.badge.now");
  else {
    const values = { seconds: seconds(index / visit.fps), percent: Math.round(100 * confidence) };
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

function tell(message) {
  const mine = visit;
  switch (message.type) {
    case "thinking_start":
    case "video_restarted":
      Object.assign(mine, { fps: message.fps, total: message.total_frames });
      film.plan(message);
      if (message.method) fact("how", made(message));
      if (message.described_by) fact("words_by", message.described_by);
      fact("video", t("foresight.size", { width: message.width, height: message.height, total: message.total_frames }));
      if (message.reason) fact("smaller", message.reason);
      break;
    case "text_chunk":
      mine.text += message.text;
      at("text").textContent = mine.text;
      break;
    case "video_frame":
      film.add(message);
      if (!message.preview) {
        at("progress").value = (message.frame_index + 1) / message.total_frames;
        if (message.frame_index) say("frame", { number: message.frame_index + 1, total: message.total_frames });
      }
      break;
    case "video_complete":
      mine.video = message.video_url;
      say("done", { seconds: seconds(message.horizon_s) });
      at("again").hidden = false;
      offer(mine);
      break;
    case "video_failed":
    case "text_failed":
      problem(t(`foresight.problem.${message.type}`, { why: message.error.message }));
      break;
    case "cancelled":
      say("stopped");
      break;
    case "thinking_complete":
      fact("first_words", t("foresight.ms", { value: message.first_text_ms ?? "–" }));
      fact("first_frame", t("foresight.ms", { value: message.first_new_frame_ms ?? "–" }));
      break;
  }
}

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

async function ask(event) {
  event?.preventDefault();
  problem("");
  busy(true);
  try {
    const { url, canvas, ...taken } = await source.take();
    visit = { url, text: "", fps: 15, total: 1, prompt: at("prompt").value.trim() };
    for (const id of ["again", "save"]) at(id).hidden = true;
    at("live").hidden = true;
    at("film").hidden = false;
    at("text").textContent = "";
    at("facts").replaceChildren();
    at("progress").value = 0;
    film.begin(canvas);
    at("film").setAttribute("aria-label", t("foresight.film"));
    say("looking");
    const mine = visit;
    const begun = await predict({ ...taken, prompt: mine.prompt, quality: at("quality").value });
    cancel = watch(begun.session_id, tell, () => ended(mine));
  } catch (error) {
    busy(false);
    if (error.status === 401) return askKey();
    problem(told(error));
  }
}

function busy(is) {
  at("ask").disabled = is || !source.ready;
  at("cancel").hidden = !is;
}

function ended(mine) {
  cancel = null;
  busy(false);
  mine.frames = film.frames;
  remember(mine);
}

function remember(mine) {
  visits.unshift(mine);
  at("none").hidden = true;
  const row = document.createElement("li");
  const button = document.createElement("button");
  const image = Object.assign(document.createElement("img"), { src: mine.url, alt: "" });
  const words = document.createElement("span");
  words.textContent = mine.prompt || mine.text || t("foresight.wordless");
  button.append(image, words);
  button.type = "button";
  button.onclick = () => !cancel && again(mine);
  row.append(button);
  at("history").prepend(row);
  if (visits.length > MOST_KEPT) {
    const old = visits.pop();
    for (const { unpacking } of old.frames) unpacking.then((bitmap) => bitmap.close());
    URL.revokeObjectURL(old.url);
    at("history").lastChild.remove();
  }
}

function again(mine) {
  visit = mine;
  at("live").hidden = true;
  at("film").hidden = false;
  at("text").textContent = mine.text;
  at("save").hidden = true;
  film.show(mine.frames, mine.fps, mine.total);
  if (mine.video) offer(mine);
}

function askKey() {
  at("key").showModal();
  at("key").onclose = () => {
    key.set(at("key-text").value.trim());
    at("key-text").value = "";
    if (key.get()) ask();
  };
}

async function take(file) {
  await ready;
  problem("");
  try {
    const canvas = await source.file(file);
    at("camera").setAttribute("aria-pressed", "false");
    at("live").hidden = true;
    at("film").hidden = false;
    film.begin(canvas);
    at("badge").hidden = true;
    at("source").textContent = file.name;
    say("ready");
  } catch (error) {
    problem(told(error));
  }
  busy(cancel !== null);
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
  busy(cancel !== null);
}

const form = at("form");
form.addEventListener("submit", ask);
at("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
at("camera").addEventListener("click", toggleCamera);
at("cancel").addEventListener("click", () => cancel?.());
at("again").addEventListener("click", () => film.play());
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    form.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
