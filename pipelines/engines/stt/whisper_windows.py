"""How much Whisper is shown at once, and what is believed of what it says. Pure: sizes, samples and said.

Whisper was trained on 30 s, but its encoder takes any length. Its cost grows faster than the length (base, one core:
912 ms for 30 s, 65 ms for 5 s), so a window is made just long enough: the audio and a margin of silence, without which
the ends of sentences go wrong (futo-org/whisper-acft). What looks wrong all the same is decoded again in 30 s.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.interfaces.vad import VAD_RATE

HOP = 160
"""Samples of one frame of the log-mel spectrogram: 10 ms."""
LONGEST_FRAMES = 3000
"""What Whisper was trained on: 30 s."""
MARGIN_FRAMES = 128
STEP_FRAMES = 100
"""Windows are multiples of it, so that utterances of different sessions fit into one batch.

Half of it (what the encoder returns) must never be the number of mel bands, 80 or 128: by that CTranslate2 would take
the encoder's output for a spectrogram, and encode it again.
"""
TOKENS_PER_SECOND = 8
SPARE_TOKENS = 16
"""Nobody says more than these; a decoder that does is going round in circles."""
MOST_TOKENS = 224
"""What a Whisper can say after a prompt of the same length."""
LEAST_RISE, MOST_RISE = 10.0, 30.0
"""Decibels of speech over its background: with less the two cannot be told apart, with more all of it is heard."""
TWICE_WORDS = 5
QUIET_SECONDS = 0.2
"""Length of the quiet place at which a long turn is cut."""
PAUSE_SECONDS = 0.15
"""Quiet for so long lies between words: the closure of a stop consonant takes less."""
_PAUSE_DEPTH = 0.25
"""Up to this share of the way, in decibels, from the background to the speech it is quiet."""


_FADE_BLOCKS = 3
"""Of 10 ms."""


def window_frames(samples: int) -> int:
    """Length in frames of the window for so many samples (16 kHz): at most 3000, a multiple of 100."""
    wanted = -(-samples // HOP) + MARGIN_FRAMES
    return min(LONGEST_FRAMES, -(-wanted // STEP_FRAMES) * STEP_FRAMES)


def most_new_tokens(frames: int) -> int:
    """How long a transcript of so many frames may get."""
    return min(MOST_TOKENS, TOKENS_PER_SECOND * frames // 100 + SPARE_TOKENS)


def quietest(samples: Samples, earliest: int, latest: int) -> int:
    """The middle of the quietest 0.2 s between two places (in samples), the later of equally quiet ones."""
    length = int(QUIET_SECONDS * VAD_RATE)
    region = samples[earliest:latest].astype(np.float64)
    if len(region) <= length:
        return latest
    step = length // 4
    energy = np.add.reduceat(region**2, np.arange(0, len(region) - len(region) % step, step))[: len(region) // step]
    spans = np.convolve(energy, np.ones(4), "valid")
    last = len(spans) - 1 - int(np.argmin(spans[::-1]))
    return earliest + last * step + length // 2


def pauses(samples: Samples) -> list[tuple[int, int]]:
    """Where (in samples) between words it is quiet for 0.15 s or more; none where speech hardly exceeds its background.

    Quiet at either end of ``samples`` counts, too.
    """
    level = _levels(samples)
    if (limit := _between(level, _PAUSE_DEPTH, 1)) is None:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], level <= limit, [False]]).astype(np.int8))) * HOP
    shortest = int(PAUSE_SECONDS * VAD_RATE)
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2) if end - begin >= shortest]


def fades(samples: Samples) -> bool:
    """Whether it has just become quiet: a pause may have begun."""
    level = _levels(samples)
    limit = _between(level, _PAUSE_DEPTH, 1)
    return limit is not None and bool((level[-_FADE_BLOCKS:] <= limit).all())


def onset(samples: Samples) -> float:
    """Seconds (16 kHz) after which it gets loud: over half the way, in decibels, from the background to the speech."""
    level = _levels(samples)
    limit = _between(level, 0.5, 5)
    return 0.0 if limit is None else float(np.argmax(level > limit)) * HOP / VAD_RATE


def _levels(samples: Samples) -> NDArray[np.float64]:
    """The power of each 10 ms in decibels; shape ``(n,)``."""
    length = len(samples) // HOP
    power = np.mean(np.square(samples[: length * HOP].reshape(length, HOP).astype(np.float64)), axis=1)
    return np.asarray(10 * np.log10(power + 1.0))  # the least step of 16 bits


def _between(level: NDArray[np.float64], share: float, quietest_percent: float) -> float | None:
    """The level at a share of the way from the background to the speech; ``None`` if they cannot be told apart."""
    if not len(level):
        return None
    quiet, loud = np.percentile(level, (quietest_percent, 95))
    if loud - quiet < LEAST_RISE:
        return None
    return float(max(quiet + share * (loud - quiet), loud - MOST_RISE))


class Said(NamedTuple):
    """What the decoder makes of one window, and what tells whether to believe it."""

    text: str
    tokens: tuple[int, ...]
    logprob: float
    """Mean logarithm of the probability of a token."""
    no_speech: float
    """Chance in 0–1 that nobody spoke."""
    compression: float
    """How many times smaller zlib makes the text: above 2.4 it repeats itself."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The limits that Whisper's authors use."""

    least_logprob: float = -1.0
    most_no_speech: float = 0.6
    most_compression: float = 2.4
    knows_probability: bool = True
    """Whether the decoder tells how likely its words are."""

    def is_silence(self, said: Said) -> bool:
        """Nothing was said, and the text is made up."""
        return said.no_speech > self.most_no_speech and said.logprob < self.least_logprob

    def suspects(self, said: Said) -> bool:
        """The text is likely wrong: repetitive or guessed."""
        if self.is_silence(said):
            return False
        return self.repeats(said) or said.logprob < self.least_logprob

    def prefers(self, one: Said, other: Said) -> bool:
        """Whether the first is to be believed rather than the other: no repetition, then the higher probability."""
        return (not self.repeats(one), one.logprob) > (not self.repeats(other), other.logprob)

    def repeats(self, said: Said) -> bool:
        """The decoder went round in circles."""
        return said.compression > self.most_compression or says_twice(said.text)


def says_twice(text: str) -> bool:
    """Whether five words or more come twice in a row: too short a loop for zlib, and nobody speaks like that."""
    words = [word.strip(".,!?;:").lower() for word in text.split()]
    return any(
        words[n : n + length] == words[n + length : n + 2 * length]
        for length in range(TWICE_WORDS, len(words) // 2 + 1)
        for n in range(len(words) - 2 * length + 1)
    )


def compression(text: str) -> float:
    """Length of the text in bytes over that of its zlib stream; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
