"""Where the starter Whisper is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped() -> Path:
    """The folder of the one that comes with the package, in CTranslate2's format."""
    return Path(str(files("pipelines.starter").joinpath("data", "whisper")))


def is_shipped() -> bool:
    """Whether there is one: a checkout may be without."""
    return (shipped() / "model.bin").is_file()
