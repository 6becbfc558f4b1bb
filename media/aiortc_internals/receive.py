"""RTP is taken from aiortc where it arrives.

aiortc's own path holds audio for 80 ms, never drains after a loss, and decodes on a thread whose two hops cost more
than the decoding; it releases a video frame only when the next one begins, and stands still until 512 packets wait
behind one that is lost. None of this can be set, so the receiver's packet handler is replaced. The names used here are
private to the release line that :mod:`media.aiortc_internals.version` insists on; a test pins them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiortc.rtcrtpreceiver
import av
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from media.aiortc_internals.direct import VoicePacket, take_directly
from media.aiortc_internals.guard import guard_receiver
from media.clock import Clock
from media.jitter import KeyFrameRequests, MarkerBuffer, Missing
from media.video_decoder import VideoDecoder
from media.video_timing import is_key_frame

log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.05
"""How often it is looked whether a decoder has caught up."""
PacketSink = Callable[[int, int, int, bytes], None]
"""Gets SSRC, sequence number, RTP timestamp and Opus payload of each packet as it arrives, on the event loop. The
payload is empty when there is nothing to decode. It must not raise: the packet would be lost."""
PictureSink = Callable[[av.VideoFrame], object]
"""Gets the newest picture, on the event loop."""


def receiver_of(pc: RTCPeerConnection, track: aiortc.MediaStreamTrack) -> RTCRtpReceiver:
    """The receiver that a remote track belongs to."""
    return next(t.receiver for t in pc.getTransceivers() if t.receiver.track is track)


def take_audio(receiver: RTCRtpReceiver, sink: PacketSink) -> asyncio.Event:
    """From now on Opus packets go to ``sink`` and not to aiortc's jitter buffer and decoder.

    Reception statistics (and so the RTCP reports to the sender) go on; the track itself yields no frames any more.
    Returns what is set when the receiver stops.
    """
    internals: Any = receiver
    ended = guard_receiver(receiver)
    codecs = internals._RTCRtpReceiver__codecs
    streams = internals._RTCRtpReceiver__remote_streams

    def take(packet: VoicePacket | RtpPacket) -> None:
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

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        take(packet)

    internals._handle_rtp_packet = handle
    take_directly(receiver, take)
    return ended


class VideoIntake:
    """From now on a receiver's pictures go to ``sink``: decoded when their last packet (RTP marker bit) is there, not
    when the next frame begins, and on a thread that is not waited for.

    To aiortc it is both the jitter buffer and the queue of the decoder's thread.
    """

    def __init__(self, receiver: RTCRtpReceiver, sink: PictureSink, clock: Clock) -> None:
        internals: Any = receiver
        self.requests = KeyFrameRequests()
        self.ended = guard_receiver(receiver)
        """Set when the receiver stops."""
        self._internals = internals
        self._clock = clock
        self._decoder = VideoDecoder(asyncio.get_running_loop(), sink)
        self._buffer = MarkerBuffer()
        self._timestamps = internals._RTCRtpReceiver__timestamp_mapper
        self._codecs = internals._RTCRtpReceiver__codecs
        self._handle = internals._handle_rtp_packet
        self._ssrc: int | None = None
        self._begun = False
        """Whether there has been a key frame."""
        self._broken = 0
        self._wanted = asyncio.Event()
        internals._RTCRtpReceiver__jitter_buffer = internals._RTCRtpReceiver__decoder_queue = self
        internals._RTCRtpReceiver__nack_generator = Missing()
        internals._handle_rtp_packet = self._packet

    async def run(self) -> None:
        """Ask for key frames where one is wanted, until the receiver stops."""
        try:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(self._ask())
                await self.ended.wait()
                asking.cancel()
        finally:
            self._decoder.close()

    async def _packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await self._handle(packet, arrival_time_ms)
        while (complete := self._buffer.take()) is not None:  # a retransmission may have completed several frames
            payload_type, frame = complete
            frame.timestamp = self._timestamps.map(frame.timestamp)
            self.put((self._codecs[payload_type], frame))

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """As the jitter buffer's, which says too whether to ask for a key frame: that is done here."""
        if self._ssrc is None:  # not sooner: what comes first may be padding on the retransmissions' SSRC (RFC 4588)
            self.requests.begin(self._clock.now())
            self._wanted.set()
        self._ssrc = packet.ssrc
        lost, frame = self._buffer.add(packet)
        if lost:
            self._want()
        return False, frame

    def put(self, item: tuple[Any, JitterFrame] | None) -> None:
        """As the queue's: decode a frame; ``None`` is aiortc's way to end its thread."""
        if item is None:
            return
        codec, frame = item[0].name.upper(), item[1]
        key = is_key_frame(codec, frame.data)
        if codec == "VP8" and not (self._begun or key):
            return  # nothing to build upon: the one that is wanted has not come whole
        if self._decoder.broken != self._broken:
            self._broken = self._decoder.broken
            self._want()
        try:
            admitted = self._decoder.put(codec, frame.data, frame.timestamp)
        except ValueError as error:
            log.info("a video frame is refused: %s", error)
            return
        if not admitted:
            self._want()
        elif key:
            self._begun = True
            self.requests.came()

    def get(self) -> None:
        """As the queue's: nothing is decoded on aiortc's thread, so it ends at once."""

    def _want(self) -> None:
        self.requests.want()
        self._wanted.set()

    async def _ask(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while (delay := self.requests.delay(self._clock.now())) is not None:
                if delay > 0 or not self._decoder.caught_up:
                    await self._clock.sleep(max(delay, _LOOK_AGAIN_SECONDS))
                    continue
                self.requests.sent(self._clock.now())
                if self._ssrc is not None:  # a stream that has not begun has nobody to ask
                    await self._internals._send_rtcp_pli(self._ssrc)
