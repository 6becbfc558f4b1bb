// What the browser knows of the connection. Its counters only grow, so two readings are compared. Pure.

const number = (value) => (Number.isFinite(value) ? value : 0);

/** The pair of candidates in use: the transport names it, or it is the one that was nominated and works. */
function pairOf(entries) {
  const transport = entries.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  const pairs = entries.filter(({ type }) => type === "candidate-pair");
  return pairs.find(({ id }) => id === transport?.selectedCandidatePairId)
    ?? pairs.find(({ selected }) => selected)
    ?? pairs.find(({ nominated, state }) => nominated && state === "succeeded");
}

function endOf(entry) {
  if (!entry) return null;
  return {
    type: entry.candidateType ?? "", protocol: entry.relayProtocol ? `${entry.protocol}, ${entry.relayProtocol}` : entry.protocol ?? "",
    address: entry.address ?? entry.ip ?? "", port: entry.port ?? null, network: entry.networkType ?? "",
  };
}

/** One reading: the counters that are looked at, by stream. @param report an RTCStatsReport, or any values with a type */
export function read(report, at) {
  const entries = [...report.values()];
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  const stream = (type, kind) => entries.filter((entry) => entry.type === type && entry.kind === kind);
  const pair = pairOf(entries);
  return {
    at,
    pair: pair ? {
      local: endOf(byId.get(pair.localCandidateId)), remote: endOf(byId.get(pair.remoteCandidateId)),
      rttMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      availableKbps: pair.availableOutgoingBitrate ? pair.availableOutgoingBitrate / 1000 : null,
      sent: number(pair.bytesSent), received: number(pair.bytesReceived),
    } : null,
    audioIn: sum(stream("inbound-rtp", "audio")), videoIn: sum(stream("inbound-rtp", "video")),
    audioOut: sum(stream("outbound-rtp", "audio")), videoOut: sum(stream("outbound-rtp", "video")),
    remoteLost: sum(entries.filter(({ type }) => type === "remote-inbound-rtp")).packetsLost ?? 0,
    playout: sum(entries.filter(({ type }) => type === "media-playout")),
    codecs: Object.fromEntries(["audio", "video"].map((kind) =>
      [kind, byId.get(stream("inbound-rtp", kind)[0]?.codecId)?.mimeType?.split("/")[1] ?? ""])),
  };
}

/** Counters of several streams of a kind, added; a jitter or a rate is the greatest of them. */
function sum(entries) {
  const total = {};
  for (const entry of entries) {
    for (const [key, value] of Object.entries(entry)) {
      if (typeof value !== "number" || key === "timestamp" || key === "ssrc") continue;
      const most = key === "jitter" || key === "framesPerSecond" || key === "frameWidth" || key === "frameHeight";
      total[key] = most ? Math.max(total[key] ?? 0, value) : (total[key] ?? 0) + value;
    }
  }
  return total;
}

/** How much a counter has grown; a counter that begins anew (another connection) has grown by what it shows. */
const grown = (before, now, key) => {
  const [old, fresh] = [number(before?.[key]), number(now?.[key])];
  return fresh >= old ? fresh - old : fresh;
};
const ratio = (part, whole) => (whole > 0 ? part / whole : null);
const percent = (part, whole) => (whole > 0 ? (100 * part) / whole : null);
const scaled = (value, factor) => (value === null ? null : value * factor);

/**
 * What has happened between two readings; a figure is null where nothing tells it.
 * @param before an earlier reading, or null: then the figures are those of the whole call
 */
export function difference(before, now) {
  const seconds = before ? Math.max(0.001, (now.at - before.at) / 1000) : null;
  const of = (stream, key) => grown(before?.[stream], now[stream], key);
  const kbps = (stream, key) => (seconds === null ? null : (of(stream, key) * 8) / 1000 / seconds);
  const lost = of("audioIn", "packetsLost");
  const concealed = of("audioIn", "concealedSamples") - of("audioIn", "silentConcealedSamples");
  return {
    rttMs: now.pair?.rttMs ?? null,
    lossPercent: percent(lost, lost + of("audioIn", "packetsReceived")),
    jitterMs: now.audioIn.jitter === undefined ? null : now.audioIn.jitter * 1000,
    jitterBufferMs: scaled(ratio(of("audioIn", "jitterBufferDelay"), of("audioIn", "jitterBufferEmittedCount")), 1000),
    concealedPercent: percent(Math.max(0, concealed), of("audioIn", "totalSamplesReceived")),
    playoutMs: scaled(ratio(of("playout", "totalPlayoutDelay"), of("playout", "totalSamplesCount")), 1000),
    audioInKbps: kbps("audioIn", "bytesReceived"), audioOutKbps: kbps("audioOut", "bytesSent"),
    videoInKbps: kbps("videoIn", "bytesReceived"), videoOutKbps: kbps("videoOut", "bytesSent"),
    inKbps: kbps("pair", "received"), outKbps: kbps("pair", "sent"),
    framesIn: seconds === null ? null : of("videoIn", "framesDecoded") / seconds,
    framesOut: seconds === null ? null : of("videoOut", "framesEncoded") / seconds,
    size: now.videoIn.frameWidth ? `${now.videoIn.frameWidth} × ${now.videoIn.frameHeight}` : "",
    freezes: of("videoIn", "freezeCount"),
    encodeMs: scaled(ratio(of("videoOut", "totalEncodeTime"), of("videoOut", "framesEncoded")), 1000),
    sendMs: scaled(ratio(of("videoOut", "totalPacketSendDelay"), of("videoOut", "packetsSent")), 1000),
    processingMs: scaled(ratio(of("videoIn", "totalProcessingDelay"), of("videoIn", "framesDecoded")), 1000),
    repeated: now.remoteLost,
  };
}

/** The points of a sparkline, as SVG wants them: the newest at the right, the greatest at the top. */
export function sparkline(values, width, height, most = 60) {
  const shown = values.slice(-most).map((value) => (Number.isFinite(value) ? value : 0));
  const top = Math.max(1e-9, ...shown);
  const step = most > 1 ? width / (most - 1) : 0;
  const left = width - step * (shown.length - 1);
  return shown.map((value, place) =>
    `${(left + step * place).toFixed(1)},${(height - (height * value) / top).toFixed(1)}`).join(" ");
}
