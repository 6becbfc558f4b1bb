// The stock client in a page, as a test drives it: window.client.
const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebRTC, OpenAIRealtimeWebSocket, tool } = OpenAIAgentsRealtime;

window.client = {
    events: [], // as the server sent them
    errors: [], // what the session reports
    called: [], // arguments that the tools were called with
    session: null,

    async connect({ url, key = "none", insecure = true, tools = [], instructions = "Be brief.", websocket = false, config }) {
        const Transport = websocket ? OpenAIRealtimeWebSocket : OpenAIRealtimeWebRTC;
        const transport = new Transport(
            websocket ? { url, useInsecureApiKey: insecure } : { baseUrl: url, useInsecureApiKey: insecure },
        );
        const agent = new RealtimeAgent({ name: "assistant", instructions, tools: tools.map(playing) });
        const session = new RealtimeSession(agent, { transport, config });
        transport.on("*", (event) => this.events.push(event));
        session.on("error", (error) => this.errors.push(JSON.stringify(error.error ?? error)));
        this.session = session;
        await session.connect({ apiKey: key });
        return transport.callId ?? null;
    },

    // The conversation as the session remembers it: [role, kind of the last part, its words, status].
    get history() {
        return this.session.history
            .filter((item) => item.type === "message")
            .map((item) => {
                const part = item.content.at(-1);
                return [item.role, part?.type ?? "", part?.transcript ?? part?.text ?? "", item.status ?? ""];
            });
    },

    named(type) {
        return this.events.filter((event) => event.type === type);
    },

    get tools() {
        return this.session.history.filter((item) => item.type === "function_call");
    },
};

function playing({ name, result }) {
    return tool({
        name,
        description: `Tells the ${name}.`,
        strict: false,
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: true },
        execute: async (given) => {
            window.client.called.push(given);
            return result;
        },
    });
}
