"""Sounds and pictures of scenarios: files beside them, and some that are made here. Nothing is fetched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.opus import RATE
from server.headless.sounds import read_sound

Wave = NDArray[np.float64]
SECONDS = 8.0
"""Of a made noise, which is then repeated."""
PICTURES = ("grey",)
"""That are made here."""


def _bursts(seconds: float, *at: tuple[float, float, float]) -> Wave:
    """Noise that dies away: when, how fast (per second) and how loud."""
    chance, sound = np.random.default_rng(2), np.zeros(int(seconds * RATE))
    for start, decay, level in at:
        rest = sound[int(start * RATE) :]
        rest += chance.normal(0, level, len(rest)) * np.exp(-decay * np.arange(len(rest)) / RATE)
    return sound


def _tone(seconds: float, *of: tuple[float, float]) -> Wave:
    time = np.arange(int(seconds * RATE)) / RATE
    return np.asarray(sum(level * np.sin(2 * math.pi * hertz * time) for hertz, level in of), np.float64)


def _keys() -> Wave:
    return _bursts(1.5, *((0.13 * n + 0.02 * (n % 3), 180.0, 4000.0) for n in range(10)))


def _breath() -> Wave:
    rise = np.sin(np.linspace(0, math.pi, int(0.9 * RATE)))
    return _smooth(np.random.default_rng(3).normal(0, 2500, len(rise)), 6) * rise


def _laughter() -> Wave:
    sound = _bursts(1.2, *((0.2 * n, 22.0, 5000.0) for n in range(5)))
    return sound + 0.6 * np.abs(sound) * _tone(1.2, (220, 1.0), (440, 0.5))


def _smooth(sound: Wave, width: int) -> Wave:
    return np.convolve(sound, np.ones(width) / width, "same")


def _pink() -> Wave:
    spectrum = np.fft.rfft(np.random.default_rng(4).normal(0, 1, int(SECONDS * RATE)))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))))


def _babble() -> Wave:
    """Noise with the spectrum and the rhythm of several people who speak at once."""
    chance, sound = np.random.default_rng(5), np.zeros(int(SECONDS * RATE))
    for _ in range(6):
        steps = np.repeat(chance.uniform(0, 1, int(SECONDS * 5)), RATE // 5)
        pitch = chance.uniform(100, 220)
        voice = _tone(SECONDS, *((pitch * n, 1 / n) for n in range(1, 12)))
        sound += _smooth(steps, RATE // 25) * (voice + chance.normal(0, 0.4, len(voice)))
    return sound


SOUNDS: dict[str, Callable[[], Wave]] = {
    "cough": lambda: _bursts(0.5, (0.0, 33.0, 9000.0), (0.22, 25.0, 6000.0)),
    "click": lambda: _bursts(0.05, (0.0, 400.0, 9000.0)),
    "knock": lambda: _bursts(0.7, (0.0, 60.0, 9000.0), (0.2, 60.0, 9000.0), (0.4, 60.0, 9000.0)),
    "keyboard": _keys,
    "breath": _breath,
    "laughter": _laughter,
    "beep": lambda: _tone(0.4, (1000, 6000)),
    "door": lambda: _bursts(0.6, (0.0, 12.0, 9000.0)),
}
"""Short ones that are no speech, in 16-bit samples."""
NOISES: dict[str, Callable[[], Wave]] = {
    "white": lambda: np.random.default_rng(6).normal(0, 1, int(SECONDS * RATE)),
    "pink": _pink,
    "hum": lambda: _tone(SECONDS, (50, 1), (150, 0.5), (250, 0.25)),
    "babble": _babble,
}
"""Lasting ones; their level is given with them."""
_MADE: dict[str, Sequence[str]] = {
    "play": tuple(SOUNDS),
    "noise": tuple(NOISES),
    "video": PICTURES,
    "audio": (),
}


class Materials:
    """What the scenarios of a folder can name. Files are looked for in ``folders``, in their order."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def file(self, name: str) -> Path | None:
        """Where a file is."""
        return next((path for folder in self._folders if (path := folder / name).is_file()), None)

    def lacks(self, name: str, use: str) -> str:
        """Why ``name`` is no ``play``, ``audio``, ``noise`` or ``video``; empty when it is one."""
        made = _MADE[use]
        if self.file(name) is not None or Path(name).stem in made:
            return ""
        places = " or ".join(str(folder) for folder in self._folders)
        legal = f"; without a file legal values are {', '.join(made)}" if made else ""
        return f"there is no file {name} in {places} (--assets names another folder){legal}"

    def sound(self, name: str) -> Samples:
        """What is played, 48 kHz. Raises :class:`~server.settings.SettingsError`."""
        if (path := self.file(name)) is not None:
            return read_sound(path)
        return SOUNDS[Path(name).stem]().clip(-32767, 32767).astype(np.int16)

    def noise(self, name: str) -> Wave:
        """What sounds behind the speaker, 48 kHz; its RMS is 1."""
        path = self.file(name)
        sound = read_sound(path).astype(np.float64) if path is not None else NOISES[Path(name).stem]()
        return sound / max(1e-9, float(np.sqrt((sound**2).mean())))

    def words_of(self, name: str) -> str:
        """The words of a recording; empty when nobody wrote them down."""
        path = self.file(str(Path(name).with_suffix(".txt")))
        return path.read_text("utf-8").strip() if path is not None else ""
