"""Sound files of a headless client: what it says, and what it saves."""

from __future__ import annotations

import math
import os
import wave
from pathlib import Path

import numpy as np

from media.files import UnreadableFileError, decode
from media.frames import Samples
from media.opus import RATE
from server.settings import SettingsError


def read_sound(path: Path) -> Samples:
    """Any sound file as 48 kHz mono, shape ``(n,)``. Raises :class:`SettingsError`."""
    try:
        samples = np.concatenate([np.zeros(0, np.int16), *decode(path.read_bytes(), RATE, math.inf)])
    except (UnreadableFileError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise SettingsError(f"{path} cannot be read as sound: {why or error}") from error
    if not len(samples):
        raise SettingsError(f"{path} holds no sound: it is empty")
    return samples


def check_place(path: Path | None, flag: str = "--out") -> None:
    """Raise :class:`SettingsError` when nothing can be saved as ``path``: better before than after the conversation."""
    if path is None:
        return
    if path.is_dir():
        raise SettingsError(f"{flag}: {path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise SettingsError(f"{flag}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingsError(f"{flag}: {path} cannot be written")


def write_wav(path: Path, samples: Samples) -> None:
    """Save 48 kHz mono samples. Raises :class:`SettingsError`."""
    try:
        with path.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.tobytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from error
