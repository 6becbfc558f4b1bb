"""The assistant's voice for a client that plays it itself: sent as fast as it is made, heard nobody knows exactly when.

It is taken to be heard in real time from the moment it is sent. That is what turn-taking goes by, and what is
remembered of a response that is cut off, unless the client tells better (``conversation.item.truncate``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np

from media.clock import Clock
from media.frames import Samples
from media.resample import Resampler
from server.transports.interface import Listener

BUFFER_SECONDS = 20.0
"""So much may wait to be sent; then :meth:`SocketPlayout.write` waits."""
PIECE_SECONDS = 0.2
"""Of speech that is sent at a time."""


class Playback:
    """How far a client that plays what it is sent, as it comes, has played. Pure; times are seconds of one clock.

    Before ``begins`` it still plays what it was sent before.
    """

    def __init__(self, begins: float = 0.0) -> None:
        self._sent = 0.0
        self._until = begins

    def send(self, seconds: float, now: float) -> None:
        """So much more has been sent."""
        self._sent += seconds
        self._until = max(self._until, now) + seconds

    def left(self, now: float) -> float:
        """Seconds that are still to be played."""
        return max(0.0, self._until - now)

    def heard(self, now: float) -> float:
        """Seconds that have been played."""
        return max(0.0, self._sent - self.left(now))


class SocketPlayout:
    """One response on its way to the client. Created by :meth:`SocketVoice.prepare`."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self.started = asyncio.Event()
        """Set when the first piece has been sent."""
        self.ended = asyncio.Event()
        """Set when all that was sent must have been heard after :meth:`finish`, or when the rest was dropped."""
        self.told = False
        """Whether its listener knows that all of it has been passed on."""
        self._flushed = False
        self._clock = clock
        self._changed = changed
        self._playback = Playback()
        self._written: deque[tuple[Samples, int]] = deque()
        self._waiting = 0.0
        """Seconds of it."""
        self._finished = False
        self._room = asyncio.Event()
        self._room.set()
        self._resampler: Resampler | None = None

    @property
    def heard_seconds(self) -> float:
        """How much the user must have heard."""
        return self._playback.heard(self._clock.now())

    @property
    def left_seconds(self) -> float:
        """How much of what was sent is still to be heard."""
        return self._playback.left(self._clock.now())

    def follow(self, last: SocketPlayout) -> None:
        """It is about to be sent behind ``last``, which the client plays to its end if it has it whole."""
        if last.told and not last._flushed:
            self._playback = Playback(self._clock.now() + last.left_seconds)

    async def write(self, samples: Samples, rate: int) -> None:
        """Queue speech (mono, ``rate`` hertz). Waits while 20 s are queued; once it is finished, it is dropped."""
        await self._room.wait()
        if not self._finished and len(samples):
            self._written.append((samples, rate))
            self._wait(len(samples) / rate)
            self._changed()

    def finish(self) -> None:
        """All has been written. Idempotent."""
        self._finished = True
        self._room.set()
        self._changed()

    def flush(self) -> float:
        """Drop what has not been sent; returns the seconds that must have been heard. Idempotent.

        What has been sent is the client's to silence: it is told that the user speaks.
        """
        heard = self.heard_seconds
        self._written.clear()
        self._waiting = 0.0
        self._flushed = True
        self.ended.set()
        self.finish()
        return heard

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._written) and not self.ended.is_set()

    @property
    def is_sent(self) -> bool:
        """Whether all of it has been sent."""
        return self._finished and not self._written

    def take(self, target: int) -> Samples:
        """The next piece at ``target`` hertz, which counts as sent; empty while the resampler needs more."""
        samples, rate = self._written.popleft()
        piece = max(1, round(PIECE_SECONDS * rate))
        if len(samples) > piece:
            self._written.appendleft((samples[piece:], rate))
            samples = samples[:piece]
        self._wait(-len(samples) / rate)
        if self._resampler is None:
            self._resampler = Resampler(target)
        taken = self._resampler.push(samples, rate)
        self._playback.send(len(samples) / rate, self._clock.now())
        self.started.set()
        return taken

    def take_rest(self) -> Samples:
        """What the resampler has kept for what does not come any more."""
        self.told = True
        return np.zeros(0, np.int16) if self._resampler is None else self._resampler.flush()

    @property
    def rate(self) -> int | None:
        """Hertz in which it is sent, once that has begun."""
        return None if self._resampler is None else self._resampler.rate

    def _wait(self, seconds: float) -> None:
        self._waiting = self._waiting + seconds if self._written else 0.0
        if self._waiting < BUFFER_SECONDS or self._finished:
            self._room.set()
        else:
            self._room.clear()


class SocketVoice:
    """Which response is being sent. :meth:`run` sends it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._playout: SocketPlayout | None = None
        self._changed = asyncio.Event()

    def prepare(self) -> SocketPlayout:
        """A response that can be written to but is not sent before :meth:`play`.

        One that the client has whole and plays by itself is not waited for any longer: another one is wanted.
        """
        if self._playout is not None and self._playout.told:
            self._playout.ended.set()
        return SocketPlayout(self._clock, self._changed.set)

    def play(self, playout: SocketPlayout) -> None:
        """Send a response from its beginning; what is left of the last one is dropped."""
        if self._playout is not None:
            playout.follow(self._playout)
            self._playout.flush()
        self._playout = playout
        self._changed.set()

    def duck(self, decibels: float) -> None:
        """Nothing: what has been sent is beyond our reach, and clients duck by themselves if they want to."""

    async def run(self, listener: Listener, room: Callable[[], Awaitable[None]]) -> None:
        """Send what is written, until cancelled; wait for ``room`` before each piece."""
        while True:
            playout = self._playout
            if playout is None or playout.ended.is_set():
                await self._change()
            elif playout.has_more:
                await room()
                if playout is self._playout and playout.has_more:
                    rate = playout.rate or listener.sound_rate()
                    listener.sound(playout.take(rate), rate)
                await asyncio.sleep(0)  # a whole answer at once would hold up everybody else's audio
            elif not playout.is_sent:
                await self._change()
            elif not playout.told:
                rest = playout.take_rest()
                if playout.rate is not None:
                    listener.sound(rest, playout.rate)
                listener.sound_ended()
            elif (left := playout.left_seconds) > 0:
                await self._change(left)
            else:
                playout.ended.set()

    async def _change(self, seconds: float | None = None) -> None:
        """Wait for something to change, or ``seconds`` at most."""
        self._changed.clear()
        if seconds is None:
            await self._changed.wait()
            return
        waits = [asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
