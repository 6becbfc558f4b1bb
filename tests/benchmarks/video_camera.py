"""A camera whose pictures carry a number, and an eye that reads it from what comes back: the delay of video.

The number is 16 bits in 16 columns at the top of the picture, each light or dark, with the opposite below it. What is
sent is encoded beforehand, so that measuring takes little of the machine that is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.channel import Channel
from media.clock import Clock
from media.frames import Pixels

WIDTH, HEIGHT = 640, 480
_BITS, _BAR = 16, WIDTH // 16
STRIP = 2 * _BAR
"""Rows at the top that the number takes."""
_LOOP_SECONDS = 8.0
_LIGHT, _DARK = 235, 20
_TIME_BASE = Fraction(1, 90_000)


def pictures(video: Path | None, fps: int) -> Iterator[Pixels]:
    """RGB pictures of 8 s of ``video`` (from its 4th second on), or of a texture that drifts."""
    total = round(fps * _LOOP_SECONDS)
    if video is None:
        texture = cv2.resize(np.random.default_rng(3).integers(40, 210, (60, 80, 3), np.uint8), (2 * WIDTH, 2 * HEIGHT))
        for n in range(total):
            shift = round(HEIGHT / 4 * (1 + np.sin(2 * np.pi * n / total)))
            yield texture[shift : shift + HEIGHT, shift : shift + WIDTH].copy()
        return
    due, made = 4.0, 0
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            while frame.time is not None and frame.time >= due and made < total:
                rgb = frame.to_ndarray(format="rgb24")
                scale = min(WIDTH / rgb.shape[1], HEIGHT / rgb.shape[0])
                small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                canvas[: small.shape[0], : small.shape[1]] = small
                yield canvas
                made, due = made + 1, due + 1 / fps


def number(pixels: Pixels, value: int) -> None:
    """Write ``value`` into the picture."""
    for bit in range(_BITS):
        light = bool(value >> bit & 1)
        columns = slice(bit * _BAR, (bit + 1) * _BAR)
        pixels[:_BAR, columns] = _LIGHT if light else _DARK
        pixels[_BAR : 2 * _BAR, columns] = _DARK if light else _LIGHT


def read_number(frame: av.VideoFrame) -> int | None:
    """The number in a frame of any size; ``None`` if it cannot be read."""
    grey = cv2.resize(frame.to_ndarray(format="gray"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    value = 0
    for bit in range(_BITS):
        columns = slice(bit * _BAR + 10, (bit + 1) * _BAR - 10)
        above, below = grey[10 : _BAR - 10, columns].mean(), grey[_BAR + 10 : 2 * _BAR - 10, columns].mean()
        if abs(above - below) < 60:
            return None
        value |= (above > below) << bit
    return value


def encoded(video: Path | None, fps: int) -> list[bytes]:
    """VP8 of 8 s, a packet for each picture, to be sent again and again."""
    return encode(pictures(video, fps), fps)


def encode(film: Iterable[Pixels], fps: int) -> list[bytes]:
    """VP8 of the pictures, which are numbered in place: a packet for each."""
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.bit_rate = WIDTH, HEIGHT, "yuv420p", 1_500_000
    codec.gop_size, codec.framerate, codec.time_base = fps, Fraction(fps), Fraction(1, fps)
    codec.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "auto-alt-ref": "0"}
    packets = []
    for n, pixels in enumerate(film):
        number(pixels, n)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, fps)
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


class NumberedCamera(MediaStreamTrack):
    """Sends the packets at their rate; remembers when each left."""

    kind = "video"

    def __init__(self, packets: list[bytes], fps: int, clock: Clock) -> None:
        super().__init__()
        self.sent = 0
        self.packets = packets
        self._fps = fps
        self._clock = clock
        self._start: float | None = None

    def left(self, n: int) -> float:
        """When the ``n``-th picture was due to leave."""
        assert self._start is not None
        return self._start + n / self._fps

    async def recv(self) -> av.Packet:
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = self._clock.now()
        await asyncio.sleep(max(0.0, self.left(self.sent) - self._clock.now()))
        packet = av.Packet(self.packets[self.sent % len(self.packets)])
        packet.pts, packet.time_base = round(self.sent / self._fps / _TIME_BASE), _TIME_BASE
        self.sent += 1
        return packet


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture that came back."""

    at: float
    """By the clock."""
    n: int
    """Which of those sent it is."""
    delay: float
    """Seconds since it left the camera, decoding included."""


class Eye:
    """Reads the numbers of what comes back."""

    def __init__(self, camera: NumberedCamera, clock: Clock) -> None:
        self.seen: list[Sight] = []
        self.unreadable = 0
        self.compare: Callable[[int, av.VideoFrame], None] | None = None
        """Called with each picture and its number among those sent."""
        self._wanted = 0
        self._enough = asyncio.Event()
        self._camera = camera
        self._clock = clock

    async def saw(self, count: int) -> None:
        """Wait until ``count`` pictures have come back."""
        self._wanted = count
        self._enough.clear()
        await self._enough.wait()

    async def watch(self, frames: Channel[av.VideoFrame]) -> None:
        async for frame in frames:
            now, value = self._clock.now(), read_number(frame)
            if value is None:
                self.unreadable += 1
                continue
            loop = len(self._camera.packets)
            n = (self._camera.sent - 1 - value) // loop * loop + value  # the newest with this number
            if self.compare is not None:
                self.compare(n, frame)
            self.seen.append(Sight(now, n, now - self._camera.left(n)))
            if len(self.seen) >= self._wanted:
                self._enough.set()
