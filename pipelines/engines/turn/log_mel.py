"""Whisper's log-mel features (Radford et al. 2022) of the end of an eight-second window, of its sound alone. Pure.

The window is normalised to zero mean and unit variance, padding included, so that the padding's value and the scale of
the sound follow from the sound alone, and nothing of the length of the window is ever computed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.interfaces.vad import VAD_RATE

SECONDS = 8
BANDS = 80
HOP = 160
_FFT = 400
_MOST = SECONDS * VAD_RATE
_HIGHEST_MEL = 45.245640471924965
"""8 kHz on Slaney's scale."""

Floats = NDArray[np.float32]


def log_mel(samples: Samples, frames: int) -> Floats:
    """Features of the last ``frames`` frames of the window that ends with ``samples`` (int16); ``(80, frames)``.

    Only the last 8 s count. ``frames`` should be at least three more than hold sound: the lowest value that counts
    depends on the loudest, which is looked for among them.
    """
    audio = samples[-_MOST:].astype(np.float32) * np.float32(1 / 32768)
    mean = float(audio.sum(dtype=np.float64)) / _MOST
    variance = float(np.square(audio, dtype=np.float64).sum()) / _MOST - mean**2
    wanted = frames * HOP
    window = np.zeros(wanted, np.float32)
    window[max(0, wanted - len(audio)) :] = audio[-wanted:]
    window = (window - np.float32(mean)) * np.float32(1.0 / np.sqrt(max(0.0, variance) + 1e-7))
    padded = np.pad(window, _FFT // 2, mode="reflect")
    cut = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][:frames]
    spectrum = np.fft.rfft(cut * _hann())
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    logs = np.log10(np.maximum(power @ _filters(), np.float32(1e-10)))
    return np.ascontiguousarray(((np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0).T, np.float32)


@cache
def _hann() -> Floats:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


@cache
def _filters() -> Floats:
    """Triangles on Slaney's mel scale, of equal area; ``(201, 80)``."""
    mels = np.linspace(0.0, _HIGHEST_MEL, BANDS + 2)
    hertz = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels - 15.0)))
    bins = np.fft.rfftfreq(_FFT, 1.0 / VAD_RATE)
    slopes = hertz[:, None] - bins[None]
    widths = np.diff(hertz)[:, None]
    triangles = np.maximum(0.0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    return np.ascontiguousarray((triangles * (2.0 / (hertz[2:] - hertz[:-2]))[:, None]).T, np.float32)
