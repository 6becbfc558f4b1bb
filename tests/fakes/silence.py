"""Sound files with nothing in them."""

from __future__ import annotations

import wave
from pathlib import Path


def silence(path: Path, *, seconds: int) -> Path:
    """So many seconds of digital silence; 0 for a valid file of no samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(bytes(2 * 48_000 * seconds))
    return path
