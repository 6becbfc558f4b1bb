"""What can be told of sound without understanding it: clipping, clicks, gaps, loudness, drift, ducking. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from media.frames import Samples
from media.opus import RATE

AUDIBLE = 200
"""Amplitude (-44 dB) above which something is heard."""
FULL_SCALE = 32_600
CLICK_STEP, CLICK_TIMES = 3000, 10.0
"""A click is a step of at least so much between two samples, so many times the RMS of the steps of 5 ms around it."""
DUCKED_DB, DUCK_SECONDS = 8.0, 0.12
"""So much lower for so long counts as ducked: shorter dips are speech."""
MOST_SECONDS = 900.0
"""Of sound that are kept."""


@dataclass(slots=True)
class Piece:
    """Sound as it arrived: when, where it belongs by its own clock, and 48 kHz samples."""

    at: float
    media: float
    """Seconds on the sender's clock."""
    samples: Samples


@dataclass(slots=True)
class Pieces:
    """All that came back, in the order of its arrival; what is beyond :data:`MOST_SECONDS` is not kept."""

    kept: list[Piece] = field(default_factory=list)
    _seconds: float = 0.0

    def add(self, piece: Piece) -> None:
        """The next."""
        self._seconds += len(piece.samples) / RATE
        if self._seconds <= MOST_SECONDS:
            self.kept.append(piece)

    def between(self, start: float, end: float) -> list[Piece]:
        """Those that arrived between two moments, by their own clock in order."""
        found = [piece for piece in self.kept if start <= piece.at < end]
        return sorted(found, key=lambda piece: piece.media)

    def sound(self, start: float, end: float) -> Samples:
        """Their samples, one behind the other."""
        return np.concatenate([np.zeros(0, np.int16), *(piece.samples for piece in self.between(start, end))])

    def timeline(self, start: float, end: float) -> Samples:
        """Their samples where they were heard, with silence between them; as long as from ``start`` to ``end``."""
        whole = np.zeros(max(0, int((end - start) * RATE)), np.int16)
        cursor = 0
        for piece in self.between(start, end):
            place = max(cursor, int((piece.at - start) * RATE))
            if 0 < place - cursor < RATE // 10 and cursor:
                place = cursor  # jitter of the arrival is no gap
            part = piece.samples[: max(0, len(whole) - place)]
            whole[place : place + len(part)] = part
            cursor = place + len(part)
        return whole


def loudness_db(samples: Samples) -> float:
    """RMS of what sounds in it, relative to full scale."""
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(np.float64)
    levels = np.sqrt((blocks**2).mean(1)) if len(blocks) else np.zeros(0)
    sounding = levels[levels > AUDIBLE / 2]
    return 20 * float(np.log10(max(1.0, float(np.sqrt((sounding**2).mean()))) / 32768)) if len(sounding) else -90.0


def clipping(samples: Samples) -> float:
    """Share of samples at full scale."""
    return float((np.abs(samples.astype(np.int32)) >= FULL_SCALE).mean()) if len(samples) else 0.0


def clicks(samples: Samples) -> int:
    """How many steps stand out of those around them."""
    steps = np.abs(np.diff(samples.astype(np.float64)))
    if len(steps) < 480:
        return 0
    around = np.sqrt(np.convolve(steps**2, np.ones(241) / 241, "same"))
    # the step itself is left out of what it is compared with
    others = np.sqrt(np.maximum(0.0, around**2 - steps**2 / 241))
    found = np.flatnonzero((steps >= CLICK_STEP) & (steps > CLICK_TIMES * others))
    return int((np.diff(found) > 240).sum() + 1) if len(found) else 0


def longest_gap_ms(samples: Samples) -> float:
    """The longest silence between two sounds."""
    heard = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return float(np.diff(heard).max() / RATE * 1000) if len(heard) > 1 else 0.0


def drift_ms(pieces: Sequence[Piece]) -> float:
    """By how much later packets came at the end than at the beginning, against their own clock; medians of a fifth."""
    if len(pieces) < 10:
        return 0.0
    late = np.array([piece.at - piece.media for piece in pieces])
    fifth = len(late) // 5
    return 1000 * float(np.median(late[-fifth:]) - np.median(late[:fifth]))


def ducked_ms(before: Samples, after: Samples) -> float | None:
    """How long after its beginning ``after`` is lower than ``before`` was, for good or for :data:`DUCK_SECONDS`."""
    reference = _levels(before)
    if not len(reference) or reference.max() < AUDIBLE / 2:
        return None
    limit = float(np.quantile(reference, 0.9)) * 10 ** (-DUCKED_DB / 20)
    levels, width = _levels(after), int(DUCK_SECONDS * 100)
    loud = np.flatnonzero(levels > limit)
    if not len(loud):
        return 0.0
    for n in range(int(loud[0]), len(levels) - width + 1):  # a pause of its own that it is in is no ducking
        if levels[n : n + width].max() <= limit:
            return 10.0 * n
    return None


def _levels(samples: Samples) -> np.ndarray:
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(np.float64)
    return np.sqrt((blocks**2).mean(1)) if len(blocks) else np.zeros(0)
