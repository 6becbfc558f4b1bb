"""What the measuring client says: encoded once beforehand and paced as a microphone would, so that it costs little.

Mouth time: a 20 ms frame leaves at the end of the 20 ms in which it was captured, so packetisation is counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from media.clock import Clock
from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, RATE, TIME_BASE, OpusEncoder
from media.resample import Resampler
from server.headless.sounds import read_sound
from server.settings import SettingsError

QUESTION = "What can you tell me about the weather in Paris today?"
PEAK = 0.7
"""Of full scale: every speech is brought to this."""
VOICED = 0.06
"""10 ms belong to the speech when their RMS is above this share of the loudest's."""
NOISE_DECIBELS = -66.0
"""The microphone's own noise, relative to full scale: no room is digitally silent."""
BURST_SECONDS, BURST_HERTZ = 0.1, 1000.0
_FADE = RATE // 100
_BLOCK = RATE // 100
_LEAD, _TRAIL = 2 * FRAME, 4 * FRAME


@dataclass(frozen=True, slots=True)
class Clip:
    """Something to say: Opus packets of 20 ms, and where in them the voice begins and ends (samples at 48 kHz)."""

    packets: tuple[bytes, ...]
    first: int
    last: int

    @property
    def seconds(self) -> float:
        """From the first to the last voiced sample."""
        return (self.last - self.first) / RATE


@dataclass(frozen=True, slots=True)
class Said:
    """When a clip left the mouth, in seconds on the client's clock."""

    first: float
    """Its first voiced sample."""
    last: float
    """The end of its last voiced sample."""


def speech_from(samples: Samples) -> Clip:
    """Mono speech at 48 kHz → a clip. Raises :class:`SettingsError` when nothing is heard in it."""
    if len(samples) < 2 * _BLOCK or not samples.any():
        raise SettingsError("there is nothing to be heard in the sound to say")
    wide = samples.astype(np.float64)
    wide *= PEAK / np.abs(wide).max()
    wide[:_FADE] *= np.linspace(0.0, 1.0, _FADE)
    wide[-_FADE:] *= np.linspace(1.0, 0.0, _FADE)
    blocks = wide[: len(wide) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    loudness = np.sqrt((blocks**2).mean(axis=1))
    voiced = np.flatnonzero(loudness > VOICED * loudness.max())
    return _clip(wide, int(voiced[0]) * _BLOCK, (int(voiced[-1]) + 1) * _BLOCK)


def burst() -> Clip:
    """0.1 s of 1 kHz: the probe of echo mode."""
    time = np.arange(round(BURST_SECONDS * RATE)) / RATE
    return _clip(0.5 * np.sin(2 * np.pi * BURST_HERTZ * time), 0, len(time))


async def speech(wav: Path | None) -> Clip:
    """The file's speech, or else :data:`QUESTION` as espeak-ng says it. Raises :class:`SettingsError`."""
    return speech_from(read_sound(wav) if wav is not None else await _synthesised(QUESTION))


async def _synthesised(text: str) -> Samples:
    from pipelines.engines.tts.espeak import EspeakVoice

    voice, resampler = EspeakVoice(), Resampler(RATE)
    try:
        pieces = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(text)]
    finally:
        await voice.close()
    return np.concatenate([*pieces, resampler.flush()])


def _clip(samples: NDArray[np.float64], first: int, last: int) -> Clip:
    rest = -(_LEAD + len(samples) + _TRAIL) % FRAME
    padded = np.concatenate([np.zeros(_LEAD), samples, np.zeros(_TRAIL + rest)])
    return Clip(_encoded(padded), _LEAD + first, _LEAD + last)


def _encoded(samples: NDArray[np.float64]) -> tuple[bytes, ...]:
    """Samples (full scale 1, whole frames) with the microphone's noise → packets."""
    noise = np.random.default_rng(1).normal(0.0, 10 ** (NOISE_DECIBELS / 20), len(samples))
    pcm = (np.clip(samples + noise, -1.0, 1.0) * 32767).astype(np.int16)
    encoder = OpusEncoder()
    return tuple(bytes(encoder.encode(frame, n)) for n, frame in enumerate(pcm.reshape(-1, FRAME)))


@cache
def _background() -> tuple[bytes, ...]:
    """2 s of the microphone's noise."""
    return _encoded(np.zeros(100 * FRAME))


class Microphone(MediaStreamTrack):
    """Paced packets: noise, and the clips that are said."""

    kind = "audio"

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.late: list[float] = []
        """Seconds by which each frame left too late: how well this client keeps time itself."""
        self._clock = clock
        self._start: float | None = None
        self._number = 0
        self._queue: deque[bytes] = deque()

    @property
    def started(self) -> bool:
        """Whether frames are being sent."""
        return self._start is not None

    def say(self, clip: Clip) -> Said:
        """Say ``clip`` from the next frame on, or after what is being said."""
        assert self._start is not None
        mouth = self._start + (self._number + len(self._queue) - 1) * FRAME_SECONDS
        self._queue.extend(clip.packets)
        return Said(mouth + clip.first / RATE, mouth + clip.last / RATE)

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = self._clock.now()
        due = self._start + self._number * FRAME_SECONDS
        await self._clock.sleep(due - self._clock.now())
        self.late.append(self._clock.now() - due)
        noise = _background()
        packet = av.Packet(self._queue.popleft() if self._queue else noise[self._number % len(noise)])
        packet.pts, packet.time_base = self._number * FRAME, TIME_BASE
        self._number += 1
        return packet
