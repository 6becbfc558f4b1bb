"""A long recording → the parts of it in which somebody speaks, cut at pauses. Pure: samples in, parts out.

A part is what a recogniser is given as one utterance: a sentence or a few, never longer than
:data:`LONGEST_SECONDS`, with a little of the silence around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from media.frames import Samples, rms
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW, SpeechProbability
from pipelines.voice.vad import QuietSkipped, Segmenter, VoicePaused, VoiceStarted

PAUSE_SECONDS = 0.8
"""Silence that ends a part."""
LONGEST_SECONDS = 18.0
"""Without such a pause a part is cut at its last short one, or else where it is quietest."""
SHORTEST_SECONDS = 6.0
"""Where a long part is cut, at least so much is before the cut."""
MARGIN_SECONDS = 0.25
"""Silence that is kept before and after a part, so that no first or last sound is lost."""


@dataclass(frozen=True, slots=True, eq=False)
class SpokenPart:
    """Speech between two pauses."""

    samples: Samples
    """16 kHz."""
    start: float
    """Seconds from the beginning of the recording to that of ``samples``."""

    @property
    def end(self) -> float:
        """Seconds from the beginning of the recording to the end of ``samples``."""
        return self.start + len(self.samples) / VAD_RATE


class SpokenParts:
    """Cuts one recording. Blocking: about 4 ms for a second of sound."""

    def __init__(self, vad: SpeechProbability) -> None:
        self.seconds = 0.0
        """Length of the recording so far."""
        self._activity = QuietSkipped(vad.open())
        self._segmenter = Segmenter()
        self._waiting: Samples = np.zeros(0, np.int16)  # less than a window
        self._kept: list[Samples] = []  # windows of the running part, or of the silence before the next one
        self._first = 0  # number of the first of them
        self._window = 0  # number of the next window
        self._speaking = False  # whether a part is running
        self._paused: int | None = None  # window since which nobody has spoken
        self._pauses: list[int] = []  # the middle of each pause of the running part

    def push(self, samples: Samples) -> Iterator[SpokenPart]:
        """Take the next samples (16 kHz, any length) and yield the parts that have ended."""
        self.seconds += len(samples) / VAD_RATE
        samples = np.concatenate([self._waiting, samples])
        whole = len(samples) - len(samples) % VAD_WINDOW
        self._waiting = samples[whole:]
        for begin in range(0, whole, VAD_WINDOW):
            yield from self._take(samples[begin : begin + VAD_WINDOW])

    def running(self, position: int) -> tuple[int, Samples]:
        """What has been said so far of the part that is running, from sample ``position`` of the recording or its
        beginning on, without the pause that may end it: the position of its first sample, and the samples."""
        if not self._speaking:
            return position, np.zeros(0, np.int16)
        last = self._window if self._paused is None else min(self._window, self._paused + _windows(MARGIN_SECONDS))
        begin = self._first * VAD_WINDOW
        said = self._kept[: max(0, last - self._first)]
        samples = np.concatenate(said) if said else np.zeros(0, np.int16)
        return max(begin, position), samples[max(0, position - begin) :]

    def flush(self) -> Iterator[SpokenPart]:
        """The recording has ended: yield the part that was running."""
        if self._speaking:
            if len(self._waiting):
                self._kept.append(self._waiting)
            yield self._part(len(self._kept))

    def _take(self, window: Samples) -> Iterator[SpokenPart]:
        start, end = self._window * VAD_WINDOW / VAD_RATE, (self._window + 1) * VAD_WINDOW / VAD_RATE
        level = rms(window)
        event = self._segmenter.process(self._activity.probability(window, level), level, start, end)
        self._kept.append(window)
        self._window += 1
        match event:
            case VoiceStarted(time):
                if not self._speaking:
                    self._forget_before(_windows(time) - _windows(MARGIN_SECONDS))
                elif self._paused is not None:
                    self._pauses.append((self._paused + _windows(time)) // 2)
                self._speaking, self._paused = True, None
            case VoicePaused(time):
                self._paused = _windows(time)
        if not self._speaking:
            self._forget_before(self._window - _windows(1.0))  # a start may be told that much later
        elif self._paused is not None and self._window - self._paused >= _windows(PAUSE_SECONDS):
            yield self._part(self._paused + _windows(MARGIN_SECONDS) - self._first)
            self._speaking, self._paused = False, None
        elif len(self._kept) >= _windows(LONGEST_SECONDS):
            yield self._part(self._place())

    def _place(self) -> int:
        """Where a part that gets too long is cut."""
        least = _windows(SHORTEST_SECONDS)
        pauses = [pause - self._first for pause in self._pauses if pause - self._first >= least]
        if pauses:
            return pauses[-1]
        levels = [rms(window) for window in self._kept[least:]]
        return least + 1 + int(np.argmin(np.convolve(levels, np.ones(3), "valid")))

    def _part(self, windows: int) -> SpokenPart:
        """The first so many windows as a part; the others are kept."""
        part = SpokenPart(np.concatenate(self._kept[:windows]), self._first * VAD_WINDOW / VAD_RATE)
        self._forget_before(self._first + windows)
        self._pauses = [pause for pause in self._pauses if pause > self._first]
        return part

    def _forget_before(self, window: int) -> None:
        if window > self._first:
            del self._kept[: window - self._first]
            self._first = min(window, self._window)


def _windows(seconds: float) -> int:
    return round(seconds * VAD_RATE / VAD_WINDOW)
