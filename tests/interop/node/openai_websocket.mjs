// A typed turn with the openai package for JavaScript, which speaks wss alone. Prints what has happened as JSON.
// Arguments: the folder node_modules, the base URL.
import { createRequire } from "node:module";

const [, , modules, baseURL] = process.argv;
const require = createRequire(`${modules}/`);
const { OpenAI } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const types = [];
const errors = [];
const connection = new OpenAIRealtimeWS({ model: "gpt-realtime" }, new OpenAI({ apiKey: process.env.KEY, baseURL }));
connection.on("event", (event) => types.push(event.type));
connection.on("error", (error) => errors.push(error.error?.code ?? error.message));
connection.on("session.created", () => {
    connection.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
    connection.send({ type: "response.cancel" });
    const content = [{ type: "input_text", text: "Hello?" }];
    connection.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    connection.send({ type: "response.create" });
});
connection.on("response.done", ({ response }) => {
    connection.close();
    console.log(JSON.stringify({ types, errors, response }));
});
connection.socket.on("close", () => process.exit(0));
