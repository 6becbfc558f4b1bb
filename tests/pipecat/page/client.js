// Pipecat's client, unchanged, and a record of what it tells. WavMediaManager needs nothing from the network.
import { PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";
import { SmallWebRTCTransport, WavMediaManager } from "@pipecat-ai/small-webrtc-transport";

class Stock {
    constructor() {
        this.states = [];
        this.events = [];
        this.transport = new SmallWebRTCTransport({ mediaManager: new WavMediaManager() });
        this.client = new PipecatClient({
            transport: this.transport,
            enableMic: true,
            enableCam: false,
            callbacks: { onTransportStateChanged: (state) => this.states.push(state) },
        });
        for (const kind of Object.values(RTVIEvent)) {
            this.client.on(kind, (data) => {
                this.events.push([kind, data]);
                if (kind === RTVIEvent.TrackStarted && data.kind === "audio") this.play(data);
            });
        }
    }

    /** Sound that nobody plays is not decoded. */
    play(track) {
        const audio = document.createElement("audio");
        audio.autoplay = true;
        audio.srcObject = new MediaStream([track]);
        document.body.append(audio);
    }

    named(kind) {
        return this.events.filter(([name]) => name === kind).map(([, data]) => data);
    }

    /** Start the bot at a server and connect to it; returns what the bot says when it is ready. */
    start(url, body = {}, key = null) {
        const headers = new Headers(key ? { Authorization: `Bearer ${key}` } : {});
        return this.client.startBotAndConnect({ endpoint: `${url}/start`, headers, requestData: { body } });
    }
}

window.stock = new Stock();
