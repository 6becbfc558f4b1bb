"""The assistant's voice: a paced outgoing track that knows exactly what has been heard.

One :class:`Playout` is one spoken reply. Opening the next one, or flushing, silences what is left of the last.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.clock import Clock
from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, RATE, OpusEncoder, OpusSettings
from media.resample import Resampler

BUFFER_SECONDS = 20.0
"""A reply is synthesised at most this far ahead of what is heard; then :meth:`Playout.write` waits."""
SLICE_SECONDS = 0.04
"""How much of a reply is resampled at a time."""
FADE_SAMPLES = 240
"""5 ms: what is cut off fades out over this length instead of clicking."""
FOLLOW_SECONDS = 0.002
"""Packets leave this long after the peer's arrive: what one of them has caused leaves with the next, not up to 20 ms
later, and the process is woken, with cold caches, once for both."""
LARGEST_STEP = 0.0005
"""Seconds by which the pacing may follow the peer's with each packet, while nothing is said."""
LATE_SECONDS = 1.0
"""After a stall longer than this the pacing starts afresh rather than sending a burst to catch up."""


class Playout:
    """One reply on its way out. Created by :meth:`AudioOut.open`."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        """Set when the first sample has been sent."""
        self.ended = asyncio.Event()
        """Set when the last sample has been sent after :meth:`finish`, or when the reply was flushed."""
        self.flushed = False
        self._resampler = Resampler(RATE)
        self._written: deque[tuple[Samples, int]] = deque()
        """As it was written, with its rate: resampled when it is due, so that a reply that is written in an instant
        does not hold up everybody else's audio."""
        self._waiting = 0.0
        """Samples of it, once resampled."""
        self._pieces: deque[Samples] = deque()
        self._ready = 0
        """Samples of ``_pieces``."""
        self._sent = 0
        self._finished = self._drained = False
        self._room = asyncio.Event()
        self._room.set()

    @property
    def heard_seconds(self) -> float:
        """How much of the reply has been sent."""
        return self._sent / RATE

    async def write(self, samples: Samples, rate: int) -> None:
        """Queue speech (mono, ``rate`` hertz). Waits while 20 s are queued; after a flush it is dropped."""
        await self._room.wait()
        if not self._finished and len(samples):
            self._written.append((samples, rate))
            self._waiting += len(samples) * RATE / rate
            self._update()

    def finish(self) -> None:
        """All has been written: :attr:`ended` is set once it has been sent. Idempotent."""
        if not self._finished:
            self._finished = True
            self._resample(0)
            self._update()

    def flush(self) -> float:
        """Silence the rest, after a 5 ms fade; returns the seconds heard. Idempotent."""
        if not self.flushed and not self.ended.is_set():
            self.flushed = self._finished = True
            rest = self.take(FADE_SAMPLES) if self.started.is_set() else np.zeros(0, np.int16)
            self._written.clear()
            self._pieces.clear()
            self._ready, self._waiting, self._drained = 0, 0.0, True
            if rest.any():
                self._sent -= len(rest)
                self._pieces.append((rest * np.linspace(1.0, 0.0, len(rest))).astype(np.int16))
                self._ready = len(rest)
            self._update()
            self.ended.set()
        return self.heard_seconds

    def take(self, count: int) -> Samples:
        """The next ``count`` samples; they count as sent.

        Of a finished reply as many as there are. Of one that is still being written nothing when there are fewer:
        otherwise a stream that is written as it comes would have silence in the middle of a frame.
        """
        self._resample(count)
        if self._ready < count and not self._finished:
            return np.zeros(0, np.int16)
        taken: list[Samples] = []
        missing = count
        while missing and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            taken.append(piece)
            missing -= len(piece)
        if not taken:
            return np.zeros(0, np.int16)
        self._ready -= count - missing
        self._sent += count - missing
        self.started.set()
        self._update()
        return np.concatenate(taken)

    def _resample(self, wanted: int) -> None:
        """Make ``wanted`` samples ready, if so much has been written."""
        while self._ready < wanted and self._written:
            samples, rate = self._written.popleft()
            slice_ = max(1, round(SLICE_SECONDS * rate))
            if len(samples) > slice_:
                self._written.appendleft((samples[slice_:], rate))
                samples = samples[:slice_]
            self._waiting = self._waiting - len(samples) * RATE / rate if self._written else 0.0
            self._add(self._resampler.push(samples, rate))
        if self._finished and not self._written and not self._drained:
            self._drained = True
            self._add(self._resampler.flush())

    def _add(self, samples: Samples) -> None:
        if len(samples):
            self._pieces.append(samples)
            self._ready += len(samples)

    def _update(self) -> None:
        if self._ready + self._waiting < BUFFER_SECONDS * RATE or self._finished:
            self._room.set()
        else:
            self._room.clear()
        if self._finished and not self._ready and not self._written:
            self.ended.set()


class AudioOut(MediaStreamTrack):
    """20 ms Opus packets on a monotonic clock; silence when there is nothing to say, timestamps without a gap."""

    kind = "audio"

    def __init__(self, clock: Clock, opus: OpusSettings | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._encoder = OpusEncoder(opus)
        self._playout: Playout | None = None
        self._fading: Playout | None = None
        self._number = 0
        self._start: float | None = None
        self._gain = self._target_gain = 1.0
        self._paused = False
        self._following = False

    def prepare(self) -> Playout:
        """A reply that can be written to but does not sound before :meth:`play`."""
        return Playout()

    def play(self, playout: Playout) -> None:
        """Let a reply sound from its beginning; what is left of the last one is flushed."""
        if self._playout is not None:
            self._playout.flush()
            self._fading = self._playout
        self._playout = playout

    def open(self) -> Playout:
        """A reply that sounds as soon as it is written."""
        playout = self.prepare()
        self.play(playout)
        return playout

    def duck(self, decibels: float) -> None:
        """Lower the voice by ``decibels`` (0 restores it), ramped over the next 20 ms."""
        self._target_gain = float(10.0 ** (-decibels / 20.0))

    def follow(self, arrival: float) -> None:
        """A packet of the peer arrived at ``arrival`` (clock seconds): leave a little after such ones, not anywhen.

        Only in silence, and in steps too small to matter for a playout buffer. Jitter of the arrivals averages out.
        """
        speaking = self._playout is not None and not self._playout.ended.is_set()
        if self._start is None or (speaking and self._following):
            return
        apart = (arrival + FOLLOW_SECONDS - self._start) % FRAME_SECONDS
        early = apart if apart < FRAME_SECONDS / 2 else apart - FRAME_SECONDS
        if not self._following:  # the first time at once: nobody has heard anything yet
            self._following, step = True, apart
        else:
            step = min(max(0.1 * early, -LARGEST_STEP), LARGEST_STEP)
        self._start += step

    def pause(self) -> None:
        """Send silence and keep the place in the reply."""
        self._paused = True

    def resume(self) -> None:
        """Go on where :meth:`pause` stopped."""
        self._paused = False

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due. Raises ``MediaStreamError`` after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        now = self._clock.now()
        if self._start is None:
            self._start = now
        wait = self._start + self._number * FRAME_SECONDS - now
        if wait > 0:
            await self._clock.sleep(wait)
            if self.readyState != "live":
                raise MediaStreamError
        elif wait < -LATE_SECONDS:
            self._number += int(-wait / FRAME_SECONDS)
        packet = self._encoder.encode(self._next_frame(), self._number)
        self._number += 1
        return packet

    def stop(self) -> None:
        """Send nothing any more, and free the encoder at once: it has native threads. Idempotent."""
        super().stop()
        self._encoder.close()

    def _next_frame(self) -> Samples:
        frame = np.zeros(FRAME, np.int16)
        if self._playout is not None and not self._paused:
            samples = self._playout.take(FRAME)
            frame[: len(samples)] = samples
        if self._fading is not None:
            tail, self._fading = self._fading.take(FRAME), None
            both = frame[: len(tail)].astype(np.int32) + tail
            frame[: len(tail)] = np.clip(both, -32768, 32767)
        if self._gain != 1.0 or self._target_gain != 1.0:
            frame = (frame * np.linspace(self._gain, self._target_gain, FRAME)).astype(np.int16)
            self._gain = self._target_gain
        return frame
