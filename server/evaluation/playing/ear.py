"""What comes back, sample by sample: when something sounds, and all of it for those who judge it afterwards."""

from __future__ import annotations

import numpy as np

from media.clock import Clock
from media.frames import Samples
from media.libopus_internals import OpusError
from media.opus import RATE, OpusDecoder
from server.evaluation.judging.acoustics import AUDIBLE, Piece
from server.evaluation.judging.observed import Observed, Sound

SOUND_GAP = 0.25
"""Seconds of silence between two sounds."""
_LEAST_SAMPLES = 8


class Ear:
    """Notes in ``observed`` what is heard; a sample is heard when its packet arrives."""

    def __init__(self, clock: Clock, observed: Observed) -> None:
        self._clock, self._observed, self._decoder = clock, observed, OpusDecoder()

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """An Opus packet has arrived."""
        try:
            samples = self._decoder.decode(payload) if payload else np.zeros(0, np.int16)
        except OpusError:
            return
        self.sound(samples, self._clock.now(), timestamp / RATE)

    def sound(self, samples: Samples, at: float, media: float) -> None:
        """Samples at 48 kHz are heard from ``at`` on, and belong to ``media`` on the sender's clock."""
        if not len(samples):
            return
        self._observed.pieces.add(Piece(at, media, samples))
        heard = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
        if len(heard) <= _LEAST_SAMPLES:
            return
        sounds = self._observed.sounds
        start, end = at + int(heard[0]) / RATE, at + (int(heard[-1]) + 1) / RATE
        if sounds and start - sounds[-1].end <= SOUND_GAP:
            sounds[-1].end = end
        else:
            sounds.append(Sound(start, end))
