// One peer connection: microphone, camera and screen out, voice and annotated picture back, events on the data channel.
// All sections stand in the first offer; tracks come and go in them without another one.

import { fetchIceServers, openCall } from "./api.js";

/** The voice never pauses: so long without a packet of it something is wrong; it may come back by itself. */
const FALTER_MS = 1200;
const LOSE_MS = 4000;
const WATCH_MS = 250;
/** From the answer to the open data channel. */
const CONNECT_LIMIT_MS = 10000;
/** `?relay` in the page's address: nothing but TURN is used, to see whether that works. */
const CONFIGURATION = {
  bundlePolicy: "max-bundle",
  ...(new URLSearchParams(location.search).has("relay") ? { iceTransportPolicy: "relay" } : {}),
};
const MOST_REFUSALS = 10;

/**
 * Give the returned picture a media stream of its own. Tracks of one stream are lip-synchronised by the browser, which
 * would hold the assistant's voice back for as long as the picture is being looked at and drawn on.
 */
export const separateStreams = (sdp) =>
  sdp.replace(/^m=video[^]*?(?=^m=|$(?![^]))/gm, (section) =>
    section.replace(/^a=msid:(\S+)/gm, "a=msid:$1-picture"));

export class Connection {
  #pc = new RTCPeerConnection(CONFIGURATION);
  #channel = null;
  #senders = {};
  #handlers;
  #abort = new AbortController();
  #connectTimer = 0;
  #watchTimer = 0;
  #heard = { packet: null, at: 0, faltering: false };
  #closed = false;
  /** What STUN and TURN servers answered that gave no way. */
  #refusals = [];

  /**
   * @param handlers {opened(), event(object), track(MediaStreamTrack), faltering(boolean), lost(reason, candidates)};
   *   none is called after close()
   */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** @type {RTCRtpReceiver|null} of the assistant's voice */
  voice = null;

  get peer() {
    return this.#pc;
  }

  /**
   * Offer at once, without waiting for candidates: the server finds the browser by its first packet.
   * @param tracks {microphone, camera, screen}, each a MediaStreamTrack or null
   * @param wishes more fields for the body of the offer: resume, pipeline
   * @returns what the server answers beside the SDP: {session_id, resumed}
   */
  async open(tracks, wishes = {}) {
    const pc = this.#pc;
    this.#addMedia(tracks);
    pc.ontrack = ({ track, receiver }) => {
      this.#hurry(receiver);
      if (track.kind === "audio") this.voice = receiver;
      if (!this.#closed) this.#handlers.track(track);
    };
    pc.onicecandidateerror = ({ url, errorCode, errorText }) => {
      if (this.#refusals.length < MOST_REFUSALS) this.#refusals.push(`${url}: ${errorCode} ${errorText}`);
    };
    pc.onconnectionstatechange = () => this.#watch(pc.connectionState);
    this.#openChannel();
    const iceServers = await fetchIceServers(this.#abort.signal);
    if (this.#closed) return {};
    pc.setConfiguration({ ...CONFIGURATION, iceServers });
    await pc.setLocalDescription(await pc.createOffer());
    const { sdp, ...about } = await openCall({ ...wishes, type: "offer", sdp: pc.localDescription.sdp }, this.#abort.signal);
    if (this.#closed) return about;
    this.#connectTimer = setTimeout(() => this.#lose("no_path"), CONNECT_LIMIT_MS);
    await pc.setRemoteDescription({ type: "answer", sdp: separateStreams(sdp) });
    return about;
  }

  /** Send one client event. @returns whether the channel was open */
  send(event) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(event));
    return true;
  }

  /** @param kind microphone | camera | screen @param track what to send from now on, or null */
  async replace(kind, track) {
    if (!this.#closed) await this.#senders[kind]?.replaceTrack(track);
  }

  /** @param kind see {@link replace} @returns {RTCRtpSender|undefined} */
  sender(kind) {
    return this.#senders[kind];
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

  /** Hang up. The tracks belong to others. Idempotent. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#connectTimer);
    clearInterval(this.#watchTimer);
    this.#abort.abort();
    this.#channel?.close();
    this.#pc.close();
  }

  #addMedia({ microphone, camera, screen }) {
    const add = (kind, track, direction) =>
      this.#pc.addTransceiver(track ?? kind, { direction, streams: track ? [new MediaStream([track])] : [] });
    add("audio", microphone, "sendrecv");
    add("video", camera, "sendrecv"); // the first video is the camera, be there one or not
    add("video", screen, "sendonly");
    const of = (kind) => this.#pc.getTransceivers().filter(({ receiver }) => receiver.track.kind === kind);
    const [[voice], [eye, desk]] = [of("audio"), of("video")];
    this.#senders = { microphone: voice.sender, camera: eye.sender, screen: desk.sender };
  }

  #openChannel() {
    const channel = this.#pc.createDataChannel("oai-events");
    channel.onopen = () => {
      clearTimeout(this.#connectTimer);
      if (this.#closed) return;
      this.#heard.at = performance.now();
      this.#watchTimer = setInterval(() => this.#listen(), WATCH_MS);
      this.#handlers.opened();
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
    if (state === "failed") this.#lose(this.#channel?.readyState === "connecting" ? "no_path" : "gone");
    if (state === "closed") this.#lose("gone");
  }

  /** Whether the voice still arrives: a server that was killed says nothing, and ICE notices after many seconds. */
  #listen() {
    const packet = this.voice?.getSynchronizationSources()[0]?.rtpTimestamp ?? null;
    const now = performance.now();
    const asleep = now - this.#heard.asked > 4 * WATCH_MS; // a page that did not run cannot tell
    this.#heard.asked = now;
    if (packet === null || packet !== this.#heard.packet || asleep) {
      Object.assign(this.#heard, { packet, at: now });
    }
    const faltering = now - this.#heard.at > FALTER_MS;
    if (faltering !== this.#heard.faltering) {
      this.#heard.faltering = faltering;
      this.#handlers.faltering(faltering);
    }
    if (now - this.#heard.at > LOSE_MS) this.#lose("gone");
  }

  async #lose(reason) {
    if (this.#closed) return;
    const candidates = reason === "no_path" ? await this.#candidates().catch(() => []) : [];
    if (this.#closed) return;
    this.close();
    this.#handlers.lost(reason, candidates);
  }

  /** The ways that were tried, for those who have to open one. */
  async #candidates() {
    const found = [...(await this.#pc.getStats()).values()].filter(({ type }) => /^(local|remote)-candidate$/.test(type));
    const ways = found.slice(0, 40).map(({ type, candidateType, protocol, address, port }) =>
      `${type.replace("-candidate", "")}: ${candidateType} ${protocol} ${address ?? "(hidden)"}:${port}`);
    const asked = this.#pc.getConfiguration().iceServers.flatMap(({ urls }) => urls);
    if (!found.some(({ type }) => type === "local-candidate")) ways.push(["local: none", ...asked].join(" "));
    return [...ways, ...new Set(this.#refusals)];
  }
}
