"""What the user of a scenario sounds like: speech over the noise of the room and of the microphone, frame by frame."""

from __future__ import annotations

from collections import deque
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.clock import Clock
from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, OpusEncoder
from server.cli.talk import CLEAR
from server.evaluation.judging.observed import Spoken
from server.evaluation.materials import Wave

VOICED = 0.06
"""Of the loudest 10 ms: what is louder belongs to the speech."""


class Mouth:
    """Frames of 20 ms at 48 kHz, from the moment on at which the first is taken.

    ``hiss_db`` is the level of the microphone's noise; ``room`` sounds all the time and is repeated.
    """

    def __init__(self, clock: Clock, hiss_db: float, room: Wave | None = None) -> None:
        self._clock = clock
        self._chance, self._hiss = np.random.default_rng(1), 32767 * 10 ** (hiss_db / 20)
        self._room = room
        self._start: float | None = None
        self._number = 0
        self._frames: deque[Samples] = deque()

    @property
    def silent(self) -> bool:
        """Whether all has been said."""
        return not self._frames

    @property
    def ends_at(self) -> float:
        """When what has been said so far has left."""
        started = self._clock.now() if self._start is None else self._start
        return started + (self._number + len(self._frames)) * FRAME_SECONDS

    def say(self, samples: Samples) -> Spoken:
        """Say it (48 kHz) from the next frame on; when its voice begins and ends."""
        blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(float)
        loud = np.sqrt((blocks**2).mean(1))
        voiced = np.flatnonzero(loud > VOICED * loud.max())
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        begin = self.ends_at
        self._frames.extend(padded.reshape(-1, FRAME))
        if not len(voiced):
            return Spoken(begin, begin + len(samples) / 48_000)
        return Spoken(begin + int(voiced[0]) / 100, begin + (int(voiced[-1]) + 1) / 100)

    async def frame(self) -> tuple[Samples, int]:
        """The next frame when it is due, and its number."""
        if self._start is None:
            self._start = self._clock.now()
        await self._clock.sleep(self._start + self._number * FRAME_SECONDS - self._clock.now())
        frame = self._chance.normal(0, self._hiss, FRAME)
        if self._room is not None:
            frame += np.take(self._room, np.arange(self._number * FRAME, (self._number + 1) * FRAME), mode="wrap")
        if self._frames:
            frame = frame + self._frames.popleft()
        self._number += 1
        return np.clip(frame, -32767, 32767).astype(np.int16), self._number - 1


class Microphone(MediaStreamTrack):
    """A mouth as the track of a peer connection."""

    kind = "audio"

    def __init__(self, mouth: Mouth) -> None:
        super().__init__()
        self._mouth, self._encoder = mouth, OpusEncoder(CLEAR)

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due. Raises ``MediaStreamError`` after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        samples, number = await self._mouth.frame()
        return self._encoder.encode(samples, number)
