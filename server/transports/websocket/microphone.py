"""What the user says, as it comes in messages: any rate and length in, even chunks at 16 kHz on a media timeline out.

The timeline is that of the samples received. A client may send a minute in a second, or nothing for a minute: the first
is a minute of sound, the second is no time at all, as with the service.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from media.channel import Channel
from media.clock import Clock
from media.frames import AudioChunk, Samples
from media.resample import Resampler
from pipelines.interfaces.vad import VAD_RATE

FULL_SECONDS = 60.0
"""With so much waiting nothing more is read of the client until the session has caught up: what is held is this and
one message, which may have 4 minutes of PCM or 24 of G.711."""
FULL_MESSAGES = 1000
"""The same holds with so many messages waiting, however short they are."""
PIECE_SECONDS = 0.1
"""How much is given to the session at a time: sound that comes in one lump must not hold up everybody else's."""
BEHIND_SECONDS = 0.02
"""How long a session that has not written down its last turns is waited for before it is looked at again."""


@dataclass(slots=True)
class _Parts:
    """Sound that is made part by part."""

    parts: Iterator[Samples]
    rate: int
    seconds: float
    """Of what is still to be made, about."""


class Microphone:
    """The sound of one client. :meth:`hear` takes it, :meth:`run` passes it on to :attr:`chunks`.

    ``is_behind`` tells whether the session had better be given no more for now: it has turns to write down.
    """

    def __init__(self, clock: Clock, is_behind: Callable[[], bool]) -> None:
        self.chunks: Channel[AudioChunk] = Channel(16)
        """What is heard: mono at 16 kHz, without a gap. Never more than one piece waits here."""
        self._clock = clock
        self._is_behind = is_behind
        self._waiting: deque[tuple[Samples, int] | _Parts | Callable[[], object]] = deque()
        self._seconds = 0.0
        """Of what waits."""
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._resampler = Resampler(VAD_RATE)
        self._samples = 0
        """Passed on so far."""

    def hear(self, samples: Samples, rate: int) -> None:
        """The next sound, mono at ``rate`` hertz, shape ``(n,)``."""
        self._waiting.append((samples, rate))
        self._moved(len(samples) / rate)
        self._arrived.set()

    def hear_parts(self, parts: Iterator[Samples], seconds: float, rate: int) -> None:
        """The next sound in parts, about ``seconds`` in all, each of which is made when it is due."""
        self._waiting.append(_Parts(parts, rate, seconds))
        self._moved(seconds)
        self._arrived.set()

    def then(self, action: Callable[[], object]) -> None:
        """Call ``action`` once the session has heard all that has come so far: at once if it has."""
        if self._waiting or len(self.chunks):
            self._waiting.append(action)
            self._moved(0.0)
            self._arrived.set()
        else:
            action()

    async def room(self) -> None:
        """Return once there is room for more."""
        await self._room.wait()

    async def run(self, around: Callable[[Callable[[], object]], Callable[[], None]]) -> None:
        """Pass on what comes, until cancelled; ``around`` keeps us safe from what was asked for."""
        try:
            while True:
                while not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
                if len(self.chunks):
                    await asyncio.sleep(0)  # to the session, and to everybody else
                elif self._is_behind():
                    await self._clock.sleep(BEHIND_SECONDS)
                else:
                    self._pass_on(around)
        finally:
            self._resampler.close()

    def _pass_on(self, around: Callable[[Callable[[], object]], Callable[[], None]]) -> None:
        first = self._waiting.popleft()
        if isinstance(first, _Parts):
            self._unpack(first)
            return
        if not isinstance(first, tuple):
            self._moved(0.0)
            around(first)()
            return
        samples, rate = first
        piece = max(1, round(PIECE_SECONDS * rate))
        if len(samples) > piece:
            self._waiting.appendleft((samples[piece:], rate))
            samples = samples[:piece]
        self._moved(-len(samples) / rate)
        heard = self._resampler.push(samples, rate) if len(samples) else samples
        if len(heard):
            self.chunks.put(AudioChunk(heard, VAD_RATE, self._samples / VAD_RATE))
            self._samples += len(heard)

    def _unpack(self, lump: _Parts) -> None:
        """Have the next part wait before the others."""
        part = next(lump.parts, None)
        seconds = lump.seconds if part is None else min(lump.seconds, len(part) / lump.rate)
        lump.seconds -= seconds
        if part is None:
            self._moved(-seconds)
            return
        self._waiting.appendleft(lump)
        self._waiting.appendleft((part, lump.rate))
        self._moved(len(part) / lump.rate - seconds)

    def _moved(self, seconds: float) -> None:
        self._seconds = self._seconds + seconds if self._waiting else 0.0
        if self._seconds < FULL_SECONDS and len(self._waiting) < FULL_MESSAGES:
            self._room.set()
        else:
            self._room.clear()
