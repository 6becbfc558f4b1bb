// The message box. What is typed is shown at once, sent as soon as there is a call, and put back into the box when there
// is none or the server refuses it. Typing when no call is open starts one that needs no microphone.

import { isRunning } from "../state/call.js";
import { MAX_WAITING, waitingEntries } from "../state/words.js";
import { byId } from "../view/dom.js";

export function mount({ store, call }) {
  const box = byId("composer-text");
  const unconfirmed = new Map(); // id → text
  let typed = 0; // messages so far; each has an id of its own

  const refresh = () => { byId("send").disabled = !box.value.trim(); };
  box.addEventListener("input", refresh);
  byId("composer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const message = box.value.trim();
    if (!message) return;
    box.value = ""; // at once: what is typed from here on is the next message
    refresh();
    if (!(await call.ready()) || !say(message)) giveBack([message]);
  });

  /** @returns {boolean} whether it was taken */
  function say(text) {
    if (waitingEntries(store.state.words).length >= MAX_WAITING) return false;
    if (!isRunning(store.state.call)) call.start({ typing: true });
    if (!isRunning(store.state.call)) return false; // it failed at once
    typed += 1;
    const id = `typed_${typed}`;
    unconfirmed.set(id, text);
    store.dispatch({ type: "client.said", id, text });
    if (store.state.call.phase === "connected") send([{ id, text }]);
    return true;
  }

  function send(entries) {
    if (!entries.length) return;
    call.hush();
    for (const { id, text } of entries) {
      call.send({ type: "conversation.item.create", event_id: id,
        item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] } });
    }
    call.send({ type: "response.create" });
  }

  /** Words that could not be sent come before what has been typed since. */
  function giveBack(texts) {
    if (!texts.length) return;
    box.value = [...texts, box.value.trim()].filter(Boolean).join(" ");
    refresh();
  }

  store.subscribe((state, events) => {
    const refused = [];
    for (const [id, text] of unconfirmed) {
      const entry = state.words.entries.find((one) => one.id === id);
      if (entry?.waiting) continue;
      unconfirmed.delete(id);
      if (!entry) refused.push(text);
    }
    giveBack(refused);
    if (events.some(({ type }) => type === "client.connected")) send(waitingEntries(state.words));
  });
}
