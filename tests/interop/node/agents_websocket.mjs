// A session of the agents' SDK over WebSocket: speaks, is answered, interrupts. Prints what has happened as JSON.
// Arguments: the folder node_modules, the URL.
import { pathToFileURL } from "node:url";

const [, , modules, url] = process.argv;
const sdk = await import(pathToFileURL(`${modules}/@openai/agents-realtime/dist/index.mjs`));

const RATE = 24000;
const PIECE = RATE / 50;

// Loud for 0.8 s, then quiet for 1 s, as fast as somebody speaks.
async function speak(session) {
    for (let piece = 0; piece < 90; piece++) {
        const samples = new Int16Array(PIECE);
        if (piece < 40) samples.forEach((_, n) => (samples[n] = n % 120 < 60 ? 9000 : -9000));
        session.sendAudio(samples.buffer);
        await new Promise((next) => setTimeout(next, 20));
    }
}

const events = [];
const waiting = new Set();
const errors = [];
let heard = 0; // bytes

function event(type, count = 1) {
    return new Promise((found) => {
        const look = () => {
            const named = events.filter((one) => one.type === type);
            if (named.length < count) return;
            waiting.delete(look);
            found(named[count - 1]);
        };
        waiting.add(look);
        look();
    });
}

// The client asks for an item when it was truncated.
async function retrieved(id) {
    for (let count = 1; ; count++) {
        const found = await event("conversation.item.retrieved", count);
        if (found.item.id === id) return found;
    }
}

const agent = new sdk.RealtimeAgent({ name: "assistant", instructions: "Be brief." });
const session = new sdk.RealtimeSession(agent, { transport: "websocket" });
session.transport.on("*", (one) => {
    events.push(one);
    for (const look of [...waiting]) look();
});
session.on("audio", ({ data }) => (heard += data.byteLength));
session.on("error", (error) => errors.push(JSON.stringify(error.error ?? error)));
await session.connect({ apiKey: "none", url });

await Promise.all([speak(session), event("response.done")]);
const spoken = { seconds: heard / 2 / RATE, transcript: (await event("response.output_audio_transcript.done")).transcript };

session.sendMessage("Count, please.");
await event("response.created", 2);
await event("response.output_audio.delta", events.filter((one) => one.type === "response.output_audio.delta").length + 1);
await new Promise((next) => setTimeout(next, 800)); // listen for a while: the client reckons what was heard by the clock
session.interrupt();
const truncated = await event("conversation.item.truncated");
const { item } = await retrieved(truncated.item_id);

const history = session.history.map((item) => {
    const part = item.content.at(-1);
    return [item.role, part?.type ?? "", part?.transcript ?? part?.text ?? "", item.status];
});
session.close();
console.log(JSON.stringify({ spoken, truncated, item, history, errors, types: events.map((one) => one.type) }));
process.exit(0);
