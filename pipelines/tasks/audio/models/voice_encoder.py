"""A voice as a vector: Resemblyzer's encoder (Wan et al., 2018, arXiv:1710.10467).

Stretches of 1.6 s of a mel spectrogram go through an LSTM of three layers; the mean of their vectors stands for the
voice. The weights are the published ones, the rest is written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.tasks.audio.sounds import Wave, only_file

RATE = 16_000
FILE = "pretrained.pt"
SIZE = 256
"""Numbers of a vector."""
SHORTEST = 0.5
"""Seconds of sound that a voice is told by, at least."""
_BANDS, _WINDOW, _HOP = 40, 400, 160
"""Of the mel spectrogram: bands, samples of a window (25 ms) and of a step (10 ms)."""
_STRETCH, _APART = 160, 77
"""Frames of a stretch, and from one to the next: 1.3 a second."""
_COVERED = 0.75
"""Of the last stretch, that must be there for it to count."""
_LEVEL = 10.0 ** (-30.0 / 20.0)
"""Quieter sounds are brought to this (RMS), as in training."""
_QUIET = 10.0 ** (-35.0 / 20.0)
"""Below the loudest 30 ms by this, they are a pause: pauses do not count."""
_PIECE, _KEPT = 480, 6
"""Samples of a piece (30 ms) that is sound or pause, and how many beside a sound are kept."""

Vector = NDArray[np.float32]


class VoiceEncoder:
    """The loaded network. Blocking."""

    def __init__(self, weights: dict[str, Any], device: str) -> None:
        from torch import nn

        self._device = device
        self._lstm = nn.LSTM(_BANDS, SIZE, 3, batch_first=True)
        self._linear = nn.Linear(SIZE, SIZE)
        for name, layer in (("lstm.", self._lstm), ("linear.", self._linear)):
            own = {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
            layer.load_state_dict(own)
            layer.to(device).eval()

    def vector(self, sound: Wave, field: str = "inputs") -> Vector:
        """The voice in a sound, a vector of length 1. Raises :class:`TaskError` where there is too little sound."""
        import torch

        heard = _without_pauses(sound)
        if len(heard) < SHORTEST * RATE:
            raise TaskError("invalid_value", f"{field}: there is less than {SHORTEST:g} s of sound in it")
        level = float(np.sqrt(np.mean(heard.astype(np.float64) ** 2)))
        stretches = _stretches(heard * np.float32(max(1.0, _LEVEL / level)))
        with torch.inference_mode():
            _, (hidden, _) = self._lstm(torch.from_numpy(stretches).to(self._device))
            raw = torch.relu(self._linear(hidden[-1]))
            each = raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-12)
            mean = each.mean(0)
            return np.asarray((mean / mean.norm().clamp_min(1e-12)).cpu().numpy(), np.float32)


def _without_pauses(sound: Wave) -> Wave:
    count = len(sound) // _PIECE
    if not count:
        return sound[:0]
    cut = sound[: count * _PIECE].reshape(count, _PIECE)
    levels = np.sqrt(np.mean(cut.astype(np.float64) ** 2, axis=1))
    loud = levels > max(1e-4, float(levels.max(initial=0.0)) * _QUIET)
    near = np.convolve(loud, np.ones(2 * _KEPT + 1), "same") > 0
    return np.ascontiguousarray(cut[near[:count]].reshape(-1))


def _stretches(sound: Wave) -> NDArray[np.float32]:
    """Shape ``(stretches, frames, bands)``."""
    frames = len(sound) // _HOP + 1
    begins = list(range(0, max(1, frames - _STRETCH + _APART + 1), _APART))
    if len(begins) > 1 and len(sound) - begins[-1] * _HOP < _COVERED * _STRETCH * _HOP:
        begins.pop()
    longest = (begins[-1] + _STRETCH) * _HOP
    mel = _mel(np.pad(sound, (0, max(0, longest - len(sound)))))
    return np.stack([mel[begin : begin + _STRETCH] for begin in begins])


def _mel(sound: Wave) -> NDArray[np.float32]:
    """Energies in mel bands, not their logarithm; shape ``(frames, bands)``."""
    padded = np.pad(sound, _WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    return (power @ _FILTERS).astype(np.float32)


def _filters() -> NDArray[np.float64]:
    """Slaney's mel filters (Auditory Toolbox, 1998): linear to 1 kHz, then 27 steps to 6.4 times; of equal area."""
    step = np.log(6.4) / 27
    top = 15.0 + np.log(RATE / 2 / 1000.0) / step
    mels = np.linspace(0.0, top, _BANDS + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3, 1000.0 * np.exp(step * (mels - 15.0)))
    bins = np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2.0 / (edges[2:] - edges[:-2]), np.float64)


_FILTERS = _filters()


def load_voice_encoder(folder: Path, device: str, dtype: str) -> VoiceEncoder:
    """The weights in ``folder``; a pickle that holds more than numbers is refused. Blocking.

    Raises :class:`ModelError` (``model_broken``).
    """
    import torch

    file = only_file(folder, FILE)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        return VoiceEncoder(checkpoint["model_state"], device)
    except Exception as error:  # of pickle, zipfile and torch
        raise ModelError("model_broken", f"{file.name} cannot be loaded as a voice encoder: {error}") from error
