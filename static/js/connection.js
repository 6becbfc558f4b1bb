// One peer connection: microphone and camera out, voice and annotated picture back, events on the data channel.

import { openCall } from "./api.js";
import { stopTracks } from "./devices.js";

/** A path that breaks may come back by itself within this time. */
const DISCONNECT_GRACE_MS = 3000;
/** From the answer to the open data channel. */
const CONNECT_LIMIT_MS = 15000;

/**
 * Give the returned picture a media stream of its own. Tracks of one stream are lip-synchronised by the browser, which
 * would hold the assistant's voice back for as long as the picture is being looked at and drawn on.
 */
export const separateStreams = (sdp) =>
  sdp.replace(/^m=video[^]*?(?=^m=|$(?![^]))/gm, (section) =>
    section.replace(/^a=msid:(\S+)/gm, "a=msid:$1-picture"));

export class Connection {
  #pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  #channel = null;
  #stream;
  #screen = null; // the transceiver; its track comes and goes without a new offer
  #shared = null;
  #handlers;
  #abort = new AbortController();
  #graceTimer = 0;
  #connectTimer = 0;
  #closed = false;

  /**
   * @param {MediaStream|null} stream what to send; null for a session that is typed and only listens
   * @param handlers {opened(), event(object), track(MediaStreamTrack), lost(reason)}; none is called after close()
   */
  constructor(stream, handlers) {
    this.#stream = stream;
    this.#handlers = handlers;
  }

  /** Offer at once, without waiting for candidates: the server finds the browser by its first packet. */
  async open() {
    const pc = this.#pc;
    this.#addMedia();
    pc.ontrack = ({ track, receiver }) => {
      this.#hurry(receiver);
      if (!this.#closed) this.#handlers.track(track);
    };
    pc.onconnectionstatechange = () => this.#watch(pc.connectionState);
    this.#openChannel();
    await pc.setLocalDescription(await pc.createOffer());
    const answer = await openCall(pc.localDescription.sdp, this.#abort.signal);
    if (this.#closed) return;
    this.#connectTimer = setTimeout(() => this.#lose("no-path"), CONNECT_LIMIT_MS);
    await pc.setRemoteDescription({ type: "answer", sdp: separateStreams(answer) });
  }

  /** Send one client event; silently nothing when the channel is not open. */
  send(event) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  setMicrophone(on) {
    this.#stream?.getAudioTracks().forEach((track) => { track.enabled = on; });
  }

  setCamera(on) {
    this.#stream?.getVideoTracks().forEach((track) => { track.enabled = on; });
  }

  /** Send a screen (MediaStream) as the second video, or none (null). */
  async setScreen(stream) {
    stopTracks(this.#shared);
    this.#shared = stream;
    await this.#screen?.sender.replaceTrack(stream?.getVideoTracks()[0] ?? null);
  }

  /** How the call is doing: energy of the voice so far, picture rate, round trip. */
  async stats() {
    const found = { remoteEnergy: 0, framesPerSecond: null, roundTripMs: null };
    for (const entry of (await this.#pc.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") found.remoteEnergy = entry.totalAudioEnergy ?? 0;
      if (entry.type === "inbound-rtp" && entry.kind === "video") found.framesPerSecond = entry.framesPerSecond ?? 0;
      if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
        found.roundTripMs = entry.currentRoundTripTime * 1000;
      }
    }
    return found;
  }

  /** Hang up and switch the devices off. Idempotent. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#connectTimer);
    this.#abort.abort();
    this.#channel?.close();
    this.#pc.close();
    stopTracks(this.#stream);
    stopTracks(this.#shared);
  }

  #addMedia() {
    const audio = this.#stream?.getAudioTracks()[0];
    if (audio) this.#pc.addTransceiver(audio, { direction: "sendrecv", streams: [this.#stream] });
    else this.#pc.addTransceiver("audio", { direction: "recvonly" });
    if (!this.#stream) return;
    const video = this.#stream.getVideoTracks()[0];
    if (video) this.#pc.addTransceiver(video, { direction: "sendrecv", streams: [this.#stream] });
    else this.#pc.addTransceiver("video", { direction: "sendonly" }); // the first video is the camera, be there one or not
    this.#screen = this.#pc.addTransceiver("video", { direction: "sendonly" });
  }

  #openChannel() {
    const channel = this.#pc.createDataChannel("oai-events");
    channel.onopen = () => {
      clearTimeout(this.#connectTimer);
      if (!this.#closed) this.#handlers.opened();
    };
    channel.onclose = () => this.#lose("gone");
    channel.onmessage = ({ data }) => {
      let event;
      try {
        event = JSON.parse(data);
      } catch {
        return; // not ours
      }
      if (!this.#closed) this.#handlers.event(event);
    };
    this.#channel = channel;
  }

  #hurry(receiver) {
    try {
      receiver.jitterBufferTarget = 0; // play what arrives; the network's jitter alone decides how much is held back
    } catch {
      // an older browser keeps its own idea
    }
  }

  #watch(state) {
    clearTimeout(this.#graceTimer);
    if (state === "failed") this.#lose(this.#channel?.readyState === "connecting" ? "no-path" : "gone");
    if (state === "closed") this.#lose("gone");
    if (state === "disconnected") this.#graceTimer = setTimeout(() => this.#lose("gone"), DISCONNECT_GRACE_MS);
  }

  #lose(reason) {
    if (this.#closed) return;
    this.close();
    this.#handlers.lost(reason);
  }
}
