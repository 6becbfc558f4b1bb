"""Recorded speech of people, cut into utterances at its pauses: what real-engine measurements say to a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from media.frames import Samples
from media.resample import Resampler
from pipelines.engines.vad.silero import SileroVad
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from server.headless.sounds import read_sound

RATE = 48_000
SPEECH, PAUSE_SECONDS = 0.5, 0.3
"""A window is speech from this probability on; so long a pause ends an utterance."""
SHORTEST, LONGEST = 1.0, 8.0
"""Seconds of an utterance; others are left out."""
_MARGIN = 0.1


def utterances(folder: Path, number: int = 30) -> list[Samples]:
    """At most ``number`` utterances of the recordings in ``folder`` (WAV, FLAC), the files in turn; 48 kHz mono."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac"))
    cut = [list(_cut(path)) for path in files]
    longest = max(map(len, cut), default=0)
    return [pieces[n] for n in range(longest) for pieces in cut if n < len(pieces)][:number]


def _cut(path: Path) -> Iterator[Samples]:
    narrow = Resampler(VAD_RATE).push(read_sound(path), RATE)
    for first, last in _speech(narrow):
        if SHORTEST <= (last - first) / VAD_RATE <= LONGEST:
            margin = int(_MARGIN * VAD_RATE)
            piece = narrow[max(0, first - margin) : last + margin]
            yield Resampler(RATE).push(piece, VAD_RATE)


def _speech(sound: Samples) -> Iterator[tuple[int, int]]:
    """Where utterances begin and end, in samples."""
    activity = SileroVad().open()
    whole = len(sound) // VAD_WINDOW * VAD_WINDOW
    loud = [activity.probability(sound[at : at + VAD_WINDOW]) >= SPEECH for at in range(0, whole, VAD_WINDOW)]
    voiced = np.flatnonzero(loud)
    if not len(voiced):
        return
    gaps = np.flatnonzero(np.diff(voiced) * VAD_WINDOW / VAD_RATE > PAUSE_SECONDS)
    starts, ends = [voiced[0], *voiced[gaps + 1]], [*voiced[gaps], voiced[-1]]
    for start, end in zip(starts, ends, strict=True):
        yield int(start) * VAD_WINDOW, (int(end) + 1) * VAD_WINDOW
