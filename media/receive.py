"""The one file that reaches into aiortc: RTP is taken where it arrives, and can be held up where it leaves.

aiortc's own path holds audio for 80 ms, never drains after a loss, and decodes on a thread whose two hops cost more
than the decoding; it releases a video frame only when the next one begins, and stands still until 512 packets wait
behind one that is lost. None of this can be set, so the receiver's packet handler is replaced. The names used here are
private: they are checked at import against the one release line they were read in, and a test pins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import aiortc.rtcrtpreceiver
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket, is_rtcp

from media.backlog import Backlog, is_key_frame
from media.clock import Clock
from media.reorder import signed

SUPPORTED = "1.16."
PacketSink = Callable[[int, int, int, bytes], None]
"""Gets SSRC, sequence number, RTP timestamp and Opus payload of each packet as it arrives, on the event loop. The
payload is empty when there is nothing to decode. It must not raise: that would close the peer's transport."""


def check_version(installed: str) -> None:
    """Raise :class:`ImportError` unless this file was written for that aiortc."""
    if not installed.startswith(SUPPORTED):
        raise ImportError(
            f"aiortc {installed} is installed, but media/receive.py knows the insides of {SUPPORTED}x only: install "
            "that release (pip install 'aiortc>=1.16,<1.17'), or check the names in this file against the new one"
        )


check_version(version("aiortc"))


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
        if codec is None or not internals._enabled:
            return
        stream = streams.get(packet.ssrc)
        if stream is None:
            stream = streams[packet.ssrc] = aiortc.rtcrtpreceiver.StreamStatistics(codec.clockRate)
        stream.add(packet)
        # padding and other codecs use up sequence numbers too: unseen, they would be taken for losses
        payload = packet.payload if codec.name.lower() == "opus" else b""
        sink(packet.ssrc, packet.sequence_number, packet.timestamp, payload)

    internals._handle_rtp_packet = handle


def shape_outgoing(sender: RTCRtpSender, delay: Callable[[float], float | None], clock: Clock) -> None:
    """From now on an RTP packet leaves ``delay(now)`` seconds later, or not at all for ``None``: a bad network.

    Packets overtake each other when their delays differ by more than the time between them. RTCP is left alone.
    """
    internals: Any = sender
    transport = internals.transport
    send = transport._send_rtp
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    async def now_or_never(data: bytes) -> None:
        with suppress(ConnectionError):  # the peer has gone meanwhile
            await send(data)

    def leave(data: bytes) -> None:
        task = loop.create_task(now_or_never(data))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    async def shaped(data: bytes) -> None:
        seconds = None if is_rtcp(data) else delay(clock.now())
        if is_rtcp(data) or seconds == 0.0:
            await send(data)
        elif seconds is not None:
            loop.call_later(seconds, leave, data)

    transport._send_rtp = shaped


def release_video_on_marker(receiver: RTCRtpReceiver) -> None:
    """From now on a frame is decoded when its last packet (RTP marker bit) is there, not when the next frame begins.

    What waits for the decoder is bounded (:class:`~media.backlog.Backlog`): a session that ends joins its thread.
    """
    internals: Any = receiver
    buffer = MarkerBuffer()
    internals._RTCRtpReceiver__jitter_buffer = buffer
    handle_one = internals._handle_rtp_packet
    codecs = internals._RTCRtpReceiver__codecs
    decoder = internals._RTCRtpReceiver__decoder_queue
    timestamps = internals._RTCRtpReceiver__timestamp_mapper
    backlog, put, refused = Backlog(), decoder.put, False

    def put_if_admitted(task: Any) -> None:
        nonlocal refused
        if task is None or backlog.admits(decoder.qsize(), key=is_key_frame(task[0].name, task[1].data)):
            put(task)
        else:
            refused = True

    decoder.put = put_if_admitted

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        nonlocal refused
        await handle_one(packet, arrival_time_ms)
        while (complete := buffer.take()) is not None:  # a retransmission may have completed several frames
            payload_type, frame = complete
            frame.timestamp = timestamps.map(frame.timestamp)
            decoder.put((codecs[payload_type], frame))
        refused, asks = False, refused and backlog.asks(decoder.qsize())
        if asks:
            await internals._send_rtcp_pli(packet.ssrc)

    internals._handle_rtp_packet = handle


class MarkerBuffer:
    """Reassembles video frames; takes the place of ``aiortc.jitterbuffer.JitterBuffer`` (same ``add``). Pure.

    A frame is complete when it starts right after the end of the one before and every packet up to its own marker is
    there. Frames leave in order. A gap that the sender does not fill (NACK) within ``patience`` RTP units, or before
    ``capacity`` packets, is given up with the frames it tore, and a key frame is asked for.
    """

    def __init__(self, capacity: int = 512, patience: int = 45_000) -> None:
        self.capacity = capacity
        self.patience = patience
        """0.5 s at 90 kHz: a retransmission comes within it or was lost, too."""
        self._packets: dict[int, Any] = {}
        self._next: int | None = None
        self._ssrc = 0
        self._torn: int | None = None
        """Timestamp of the frame that was given up last: should the rest of it come, it is no frame."""

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """A packet; returns whether to ask for a key frame, and the frame that is complete now, if any."""
        lost = self._next is not None and self._begins_anew(packet)
        if self._next is None or lost:
            self._packets.clear()
            self._next, self._ssrc, self._torn = packet.sequence_number, packet.ssrc, None
        number = self._next + signed(packet.sequence_number - self._next, 16)
        if number < self._next or number in self._packets:
            return lost, None
        self._packets[number] = packet
        while (complete := self.take()) is None and self._overdue(number):
            self._give_up_front()
            lost = True
        return lost, complete[1] if complete is not None else None

    def take(self) -> tuple[int, JitterFrame] | None:
        """The frame at the front, with its payload type, if all of it is there."""
        while (end := self._end_of_front()) is not None:
            assert self._next is not None
            packets = [self._packets.pop(number) for number in range(self._next, end)]
            self._next = end
            first, data = packets[0], b"".join(packet._data for packet in packets)
            if first.timestamp == self._torn or not data:  # nothing but padding: would tell the codec it is the end
                continue
            self._torn = None
            return first.payload_type, JitterFrame(data=data, timestamp=first.timestamp)
        return None

    def _begins_anew(self, packet: Any) -> bool:
        assert self._next is not None
        behind = signed(self._next - packet.sequence_number, 16)
        return packet.ssrc != self._ssrc or behind > self.capacity

    def _end_of_front(self) -> int | None:
        """The number after the front frame's last packet, once all of it is there.

        Some senders do not set the marker: a new timestamp ends a frame, too.
        """
        number = self._next
        if number is None or (first := self._packets.get(number)) is None:
            return None
        while (packet := self._packets.get(number)) is not None:
            if packet.timestamp != first.timestamp:
                return number
            number += 1
            if packet.marker:
                return number
        return None

    def _overdue(self, newest: int) -> bool:
        """Whether what is at the front has been waited for long enough, seen from packet ``newest``."""
        if newest not in self._packets:
            return False
        assert self._next is not None
        first = self._packets[min(self._packets)]
        age = signed(self._packets[newest].timestamp - first.timestamp, 32)
        return newest - self._next >= self.capacity or age > self.patience

    def _give_up_front(self) -> None:
        """Give up everything before the next packet that certainly begins a frame.

        That may be more than what is torn, but pictures between a lost one and the key frame are spoilt anyway.
        """
        waiting = sorted(self._packets)
        self._next = next((number for number in waiting if self._begins_a_frame(number)), waiting[-1] + 1)
        for number in waiting:
            if number < self._next:
                self._torn = self._packets.pop(number).timestamp

    def _begins_a_frame(self, number: int) -> bool:
        before = self._packets.get(number - 1)
        return before is not None and (before.marker or before.timestamp != self._packets[number].timestamp)
