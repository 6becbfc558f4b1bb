"""The one file that reaches into aiortc: RTP is taken where it arrives.

aiortc's own path holds audio for 80 ms, never drains after a loss, and decodes on a thread whose two hops cost more
than the decoding; it releases a video frame only when the next one begins. None of this can be set, so the receiver's
packet handler is replaced. The names used here are private: they are checked at import against the one release line
they were read in, and a test pins them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import aiortc.rtcrtpreceiver
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

SUPPORTED = "1.16."
PacketSink = Callable[[int, int, bytes], None]
"""Gets sequence number, RTP timestamp and Opus payload of each packet as it arrives, on the event loop."""

if not version("aiortc").startswith(SUPPORTED):
    raise ImportError(
        f"aiortc {version('aiortc')} is installed, but media/receive.py knows the insides of {SUPPORTED}x only: "
        "install that release (pip install 'aiortc>=1.16,<1.17'), or check the names in this file against the new one"
    )


def receiver_of(pc: RTCPeerConnection, track: aiortc.MediaStreamTrack) -> RTCRtpReceiver:
    """The receiver that a remote track belongs to."""
    return next(t.receiver for t in pc.getTransceivers() if t.receiver.track is track)


def take_audio(receiver: RTCRtpReceiver, sink: PacketSink) -> None:
    """From now on Opus packets go to ``sink`` and not to aiortc's jitter buffer and decoder.

    Reception statistics (and so the RTCP reports to the sender) go on; the track itself yields no frames any more.
    """
    internals: Any = receiver
    codecs = internals._RTCRtpReceiver__codecs
    streams = internals._RTCRtpReceiver__remote_streams

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        codec = codecs.get(packet.payload_type)
        if codec is None or codec.name.lower() != "opus":
            return
        stream = streams.get(packet.ssrc)
        if stream is None:
            stream = streams[packet.ssrc] = aiortc.rtcrtpreceiver.StreamStatistics(codec.clockRate)
        stream.add(packet)
        if packet.payload:
            sink(packet.sequence_number, packet.timestamp, packet.payload)

    internals._handle_rtp_packet = handle


def release_video_on_marker(receiver: RTCRtpReceiver) -> None:
    """From now on a frame is decoded when its last packet (RTP marker bit) is there, not when the next frame begins."""
    internals: Any = receiver
    buffer = MarkerBuffer()
    internals._RTCRtpReceiver__jitter_buffer = buffer
    handle_one = internals._handle_rtp_packet
    codecs = internals._RTCRtpReceiver__codecs
    decoder = internals._RTCRtpReceiver__decoder_queue
    timestamps = internals._RTCRtpReceiver__timestamp_mapper

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        await handle_one(packet, arrival_time_ms)
        while (complete := buffer.take()) is not None:  # a retransmission may have completed several frames
            payload_type, frame = complete
            frame.timestamp = timestamps.map(frame.timestamp)
            decoder.put((codecs[payload_type], frame))

    internals._handle_rtp_packet = handle


class MarkerBuffer:
    """Reassembles video frames; takes the place of ``aiortc.jitterbuffer.JitterBuffer`` (same ``add``).

    A frame is complete when it starts right after the end of the one before (or after a gap, at a packet whose
    predecessor had the marker) and every packet up to its own marker is there. Frames leave in order; a gap that the
    sender does not fill (NACK) before ``capacity`` packets wait behind it is skipped, and a key frame is asked for.
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self._packets: dict[int, Any] = {}
        self._next: int | None = None

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """A packet; returns whether to ask for a key frame, and the frame that is complete now, if any."""
        if self._next is None:
            self._next = packet.sequence_number
        number = self._next + _signed(packet.sequence_number - self._next)
        lost = False
        if abs(number - self._next) > self.capacity * 4:
            self._packets.clear()
            number = self._next = packet.sequence_number
            lost = True
        if number < self._next or number in self._packets:
            return lost, None
        self._packets[number] = packet
        if len(self._packets) > self.capacity or number - self._next >= self.capacity:
            self._skip()
            lost = True
        complete = self.take()
        return lost, complete[1] if complete is not None else None

    def take(self) -> tuple[int, JitterFrame] | None:
        """The frame at the front, with its payload type, if all of it is there.

        Some senders do not set the marker: a new timestamp ends a frame, too.
        """
        if self._next is None:
            return None
        parts: list[bytes] = []
        number = self._next
        first: Any = self._packets.get(number)
        while (packet := self._packets.get(number)) is not None:
            if packet.timestamp != first.timestamp:
                return self._release(number, parts, first)
            parts.append(packet._data)
            number += 1
            if packet.marker:
                return self._release(number, parts, first)
        return None

    def _release(self, end: int, parts: list[bytes], first: Any) -> tuple[int, JitterFrame]:
        assert self._next is not None
        for number in range(self._next, end):
            del self._packets[number]
        self._next = end
        return first.payload_type, JitterFrame(data=b"".join(parts), timestamp=first.timestamp)

    def _skip(self) -> None:
        """Give up the gap in front, and the rest of the frame it tore."""
        assert self._next is not None
        waiting = sorted(self._packets)
        torn = self._packets[waiting[0]].timestamp
        keep = next((n for n in waiting if self._packets[n].timestamp != torn), waiting[-1] + 1)
        for number in waiting:
            if number < keep:
                del self._packets[number]
        self._next = keep


def _signed(value: int) -> int:
    return (value + 0x8000) % 0x10000 - 0x8000
