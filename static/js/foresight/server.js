// The server: asks for predictions, listens to them, fetches their videos. The key is kept until the tab is closed.

import { Trouble } from "./trouble.js";

const KEY = "visavis.key"; // as the main page has it

/** An answer of the server that is an error. */
export class Refusal extends Trouble {
  constructor(status, error) {
    super("status", { status });
    this.status = status;
    this.said = error?.message ?? "";
  }
}

/** `fetch`, with a Trouble where there is no server. */
const ask = (url, options) => fetch(url, options).catch(() => {
  throw new Trouble("unreachable");
});

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
};

const headers = () => (key.get() ? { Authorization: `Bearer ${key.get()}` } : {});

/** Begin a prediction. */
export async function predict(body) {
  const response = await ask("api/predict", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers() },
    body: JSON.stringify(body),
  });
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, told.error);
  return told;
}

/** Listen to one: `tell` is given each message, `end` is called once when nothing more comes. Returns what cancels it. */
export function watch(id, tell, end) {
  const url = new URL(`api/ws/${id}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const spoken = ["visavis.foresight"];
  if (key.get()) spoken.push(`openai-insecure-api-key.${key.get()}`);
  const socket = new WebSocket(url, spoken);
  socket.onmessage = (event) => tell(JSON.parse(event.data));
  socket.onclose = () => end();
  const cancel = () => socket.send(JSON.stringify({ type: "cancel" }));
  return () => {
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = cancel;
    else if (socket.readyState === WebSocket.OPEN) cancel();
  };
}

/** The video as a file that a player or a link may be given. */
export async function fetchVideo(url) {
  const response = await ask(url.replace(/^\//, ""), { headers: headers() });
  if (!response.ok) throw new Refusal(response.status, (await response.json().catch(() => ({}))).error);
  return URL.createObjectURL(await response.blob());
}
