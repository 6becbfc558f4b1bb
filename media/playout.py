"""The assistant's voice before it is sent: responses on their way out, and how much of each has been heard.

One :class:`Playout` is one spoken response. Opening the next one, or flushing, silences what is left of the last.
No transport: whoever sends the voice takes it from a :class:`Mixer` as it is due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from media.frames import Samples
from media.opus import RATE
from media.resample import Resampler

BUFFER_SECONDS = 20.0
"""A response is synthesised at most this far ahead of what is heard; then :meth:`Playout.write` waits."""
SLICE_SECONDS = 0.04
"""How much of a response is resampled at a time."""
FADE_SAMPLES = 240
"""5 ms: what is cut off fades out over this length instead of clicking."""


class Playout:
    """One response on its way out. Created by :meth:`Mixer.prepare`."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        """Set when the first sample has been sent."""
        self.ended = asyncio.Event()
        """Set when the last sample has been sent after :meth:`finish`, or when the response was flushed."""
        self.flushed = False
        self._resampler = Resampler(RATE)
        self._written: deque[tuple[Samples, int]] = deque()
        """As it was written, with its rate: resampled when it is due, so that a response that is written in an instant
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
        """How much of the response has been sent."""
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

        Of a finished response as many as there are. Of one that is still being written nothing when there are fewer:
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


class Mixer:
    """Which response sounds, how loud, and the end of the one before, which fades.

    ``begun`` is called when a response is to sound, for whoever takes the voice only then; ``audible`` tells whether
    anybody would hear one.
    """

    def __init__(self, begun: Callable[[], object] = lambda: None, audible: Callable[[], bool] = lambda: True) -> None:
        self._begun = begun
        self._audible = audible
        self._playout: Playout | None = None
        self._fading: Playout | None = None
        self._gain = self._target_gain = 1.0

    @property
    def speaking(self) -> bool:
        """Whether a response is on its way out."""
        return self._playout is not None and not self._playout.ended.is_set()

    def prepare(self) -> Playout | None:
        """A response that can be written to but does not sound before :meth:`play`; ``None``: nobody would hear it."""
        return Playout() if self._audible() else None

    def play(self, playout: Playout) -> None:
        """Let a response sound from its beginning; what is left of the last one is flushed."""
        if self._playout is not None:
            self._playout.flush()
            self._fading = self._playout
        self._playout = playout
        self._begun()

    def open(self) -> Playout:
        """A response that sounds as soon as it is written."""
        playout = Playout()
        self.play(playout)
        return playout

    def duck(self, decibels: float) -> None:
        """Lower the voice by ``decibels`` (0 restores it), ramped over the next frame."""
        self._target_gain = float(10.0 ** (-decibels / 20.0))

    def take(self, count: int) -> Samples:
        """The next ``count`` samples of the voice, mono at 48 kHz; they count as heard. Silence where there is none."""
        frame = np.zeros(count, np.int16)
        if self._playout is not None:
            samples = self._playout.take(count)
            frame[: len(samples)] = samples
        if self._fading is not None:
            tail, self._fading = self._fading.take(count), None
            both = frame[: len(tail)].astype(np.int32) + tail
            frame[: len(tail)] = np.clip(both, -32768, 32767)
        if self._gain != 1.0 or self._target_gain != 1.0:
            frame = (frame * np.linspace(self._gain, self._target_gain, count)).astype(np.int16)
            self._gain = self._target_gain
        return frame
