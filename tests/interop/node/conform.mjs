// Reads server events (a JSON list) and tells how the agents' SDK takes each: known, generic, or with which error.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const load = (file) => import(pathToFileURL(`${process.argv[2]}/@openai/agents-realtime/dist/${file}.mjs`));
const { parseRealtimeEvent, realtimeServerEventSchema } = await load("openaiRealtimeEvents");
const { OpenAIRealtimeBase } = await load("openaiRealtimeBase");

class Listener extends OpenAIRealtimeBase {
    sendEvent() {}
}

const listener = new Listener();
listener.on("error", () => {}); // as every application does: one that nobody listens to is thrown
const told = JSON.parse(readFileSync(0, "utf-8")).map((event) => {
    const message = { data: JSON.stringify(event) };
    try {
        listener._onMessage(message);
    } catch (error) {
        return String(error);
    }
    if (!parseRealtimeEvent(message).isGeneric) return "known";
    const issues = realtimeServerEventSchema.safeParse(event).error.issues;
    return issues.some((issue) => issue.path.length === 1 && issue.path[0] === "type")
        ? "generic"
        : issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
});
console.log(JSON.stringify(told));
