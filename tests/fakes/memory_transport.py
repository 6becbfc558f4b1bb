"""A transport without a network, a codec or a library of media: what a session needs of one, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from media.channel import Channel
from media.frames import AudioChunk, Picture, Pixels, Samples, VideoFrame, reduced
from media.opus import FRAME
from media.playout import Mixer
from media.video_feed import VideoFeed
from pipelines.assistant.events import Event
from pipelines.assistant.session import AssistantSession, FirstSettings
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock

RATE = 16_000
PACKET = 0.02


@dataclass(frozen=True)
class ArrayFrame:
    """A frame that is its own picture."""

    pixels: Pixels
    time: float

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]


class ArrayConverter:
    """Of such frames; makes them small by leaving rows and columns out."""

    def picture(self, frame: VideoFrame, longest_side: int | None = None) -> Picture:
        assert isinstance(frame, ArrayFrame)
        return Picture(_sampled(frame.pixels, *reduced(frame.width, frame.height, longest_side)), frame.time)

    def scaled(self, frame: VideoFrame, width: int, height: int) -> ArrayFrame:
        assert isinstance(frame, ArrayFrame)
        return ArrayFrame(_sampled(frame.pixels, width, height), frame.time)

    def frame(self, pixels: Pixels, like: VideoFrame) -> ArrayFrame:
        assert like.time is not None
        return ArrayFrame(pixels, like.time)

    def is_encodable(self, frame: VideoFrame) -> bool:
        return True


def _sampled(pixels: Pixels, width: int, height: int) -> Pixels:
    rows = np.arange(height) * pixels.shape[0] // height
    return pixels[rows][:, np.arange(width) * pixels.shape[1] // width].copy()


class MemoryTransport:
    """Carries what the test says and shows to a session, and back what the session says and shows."""

    def __init__(self, first: FirstSettings | None = None, **engines: Any) -> None:
        self.clock = FakeClock(100.0)
        self.engines = fake_engines(**engines)
        self.voice = Mixer()
        self.heard: list[Samples] = []
        """What has come out, packet by packet; mono at 48 kHz."""
        self.session = AssistantSession(self.engines, self.clock, self.voice, ArrayConverter, first or FirstSettings())
        self.microphone: Channel[AudioChunk] = Channel(1000)
        self.camera = VideoFeed()
        self.told: list[Event] = []
        self.events = self.session.events.subscribe()
        self.session.vision.see([self.camera])
        self._time = 0.0

    async def say(self, seconds: float, *, loud: bool = True, until: type | None = None) -> None:
        """Speak, or be silent, and let what is being said to the user be heard meanwhile; up to an event of a kind."""
        for _ in range(round(seconds / PACKET)):
            samples = np.full(round(PACKET * RATE), 3000 if loud else 0, np.int16)
            self.microphone.put(AudioChunk(samples, RATE, self._time))
            self._time += PACKET
            self.clock.advance(PACKET)
            self.heard.append(self.voice.take(FRAME))
            await settle(20)
            self.told += self.events.take()
            if until is not None and self.named(until):
                return

    async def hush(self, seconds: float, *, until: type | None = None) -> None:
        await self.say(seconds, loud=False, until=until)

    def show(self, time: float, width: int = 320, height: int = 240) -> ArrayFrame:
        frame = ArrayFrame(np.full((height, width, 3), 128, np.uint8), time)
        self.camera.put(frame, self.clock.now())
        return frame

    async def returned(self) -> VideoFrame | None:
        return await self.session.vision.render(await self.session.vision.returns.get())

    @property
    def loud_seconds(self) -> float:
        """Of what has come out: how much of it was a voice."""
        return sum(PACKET for packet in self.heard if np.abs(packet.astype(int)).mean() > 500)

    def named(self, *kinds: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, kinds)]

    def forget(self) -> None:
        self.told.clear()
        self.heard.clear()


async def settle(rounds: int = 60) -> None:
    """Let every task that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@asynccontextmanager
async def call(first: FirstSettings | None = None, **engines: Any) -> AsyncIterator[MemoryTransport]:
    """A session that runs, and its end."""
    transport = MemoryTransport(first, **engines)
    task = asyncio.create_task(transport.session.run(transport.microphone))
    await settle()
    try:
        yield transport
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert transport.events.closed, "whoever listens to a session must learn that it has ended"
        await transport.engines.close()
