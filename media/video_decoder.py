"""Encoded frames in, the newest picture out, on a thread of its own: nothing queues, and nothing is larger than needed.

aiortc's decoder hands every picture to the event loop as it is; a 4K camera's have 12 MB each.
"""

from __future__ import annotations

import queue
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from media.frames import Picture, reduced
from media.video_convert import Converter
from media.video_timing import Backlog, is_key_frame, size_of_key_frame

TIME_BASE = Fraction(1, 90_000)
LONGEST_SIDE = 1920
"""Pixels: larger pictures are made smaller before anybody gets them. Nothing is sent back or looked at larger."""
REDUCED_SIDE = 1280
"""Pixels, of those. Encoding what goes back costs most, and whoever sends 4K has taken half of a processor already."""
MOST_PIXELS = 4096 * 2304
"""Of a picture that is decoded at all: a few bytes can claim 16,383 × 16,383, for which a decoder would take 2 GB."""
_DECODERS = {"VP8": "libvpx", "H264": "h264"}


class VideoDecoder:
    """``deliver`` is called on the loop with pictures (at most ``LONGEST_SIDE``); those it has no time for are skipped.

    The thread starts with the first frame and ends after :meth:`close`, which does not wait for it.
    """

    def __init__(self, loop: AbstractEventLoop, deliver: Callable[[av.VideoFrame], object]) -> None:
        self.broken = 0
        """Frames that could not be decoded."""
        self._loop = loop
        self._deliver = deliver
        self._backlog = Backlog()
        self._inbox: queue.SimpleQueue[tuple[str, bytes, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._newest: av.VideoFrame | None = None
        """Decoded, and on its way to the loop."""
        self._lock = threading.Lock()

    @property
    def caught_up(self) -> bool:
        """Whether a key frame that comes now would be decoded."""
        return self._backlog.has_caught_up(self._inbox.qsize())

    def put(self, codec: str, data: bytes, timestamp: int) -> bool:
        """Decode a frame (VP8, H264) at ``timestamp`` (90 kHz); ``False`` when it was left out: a key frame is wanted.

        Raises :class:`ValueError` for a picture that is too large.
        """
        key = is_key_frame(codec, data)
        width, height = size_of_key_frame(codec, data) if key else (0, 0)
        if width * height > MOST_PIXELS:
            raise ValueError(f"a picture may have {MOST_PIXELS} pixels, not {width} × {height}")
        if self._closed or not self._backlog.admits(self._inbox.qsize(), key=key):
            return False
        self._inbox.put((codec, data, timestamp))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="video-decoder", daemon=True)
            self._thread.start()
        return True

    def close(self) -> None:
        """Decode nothing any more, and end the thread. Idempotent."""
        self._closed = True
        self._inbox.put(None)

    def _work(self) -> None:
        decoders: dict[str, VideoCodecContext] = {}
        reformatter = VideoReformatter()
        while (item := self._inbox.get()) is not None:
            codec, data, timestamp = item
            if self._closed:
                continue
            if codec not in decoders:
                decoders = {codec: _decoder(codec)}
            try:
                self._decode(decoders[codec], reformatter, data, timestamp)
            except av.FFmpegError:
                self.broken += 1

    def _decode(self, decoder: VideoCodecContext, reformatter: VideoReformatter, data: bytes, timestamp: int) -> None:
        packet = av.Packet(data)
        packet.pts, packet.time_base = timestamp, TIME_BASE
        for frame in decoder.decode(packet):
            if self._newest is None or self._inbox.empty():
                self._post(_small(frame, reformatter))

    def _post(self, frame: av.VideoFrame) -> None:
        with self._lock:
            under_way, self._newest = self._newest is not None, frame
        if not under_way:
            try:
                self._loop.call_soon_threadsafe(self._hand_over)
            except RuntimeError:  # the loop has ended
                self._closed = True

    def _hand_over(self) -> None:
        with self._lock:
            frame, self._newest = self._newest, None
        if frame is not None and not self._closed:
            self._deliver(frame)


class AccessUnits:
    """Encoded frames of one stream in, every picture out, in their order. Blocking: for a worker's thread.

    ``side``: pixels; larger pictures are made smaller.
    """

    def __init__(self, codec: str, side: int) -> None:
        self._codec = codec
        self._side = side
        self._decoder = _decoder(codec)
        self._converter = Converter()
        self._begun = False

    def decode(self, data: bytes, time: float) -> list[Picture]:
        """The pictures that a frame (VP8, H264) at ``time`` seconds completes. Raises :class:`ValueError` for one that
        cannot be decoded, for a first one that is no key frame, and for a picture that is too large."""
        if not data:
            raise ValueError("is empty")
        if is_key_frame(self._codec, data):
            width, height = size_of_key_frame(self._codec, data)
            if width * height > MOST_PIXELS:
                raise ValueError(f"a picture may have {MOST_PIXELS} pixels, not {width} × {height}")
            self._begun = True
        elif not self._begun:
            raise ValueError("decoding begins with a key frame, and the first frame is none")
        packet = av.Packet(data)
        packet.pts, packet.time_base = round(time / TIME_BASE), TIME_BASE
        return self._pictures(packet)

    def finish(self) -> list[Picture]:
        """The pictures that the decoder still holds."""
        return self._pictures(None) if self._begun else []

    def _pictures(self, packet: av.Packet[Any] | None) -> list[Picture]:
        try:
            return [self._converter.picture(frame, self._side) for frame in self._decoder.decode(packet)]
        except av.FFmpegError as error:
            raise ValueError(f"cannot be decoded as {self._codec}") from error


def _decoder(codec: str) -> VideoCodecContext:
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1  # more would take the processor from those who speak
    decoder.options = {"max_pixels": str(MOST_PIXELS)}
    return decoder


def _small(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    if max(frame.width, frame.height) <= LONGEST_SIDE:
        return frame
    width, height = reduced(frame.width, frame.height, REDUCED_SIDE)
    small = reformatter.reformat(
        frame, max(2, width & ~1), max(2, height & ~1), "yuv420p", interpolation=Interpolation.AREA, threads=1
    )
    small.pts, small.time_base = frame.pts, frame.time_base
    return small
