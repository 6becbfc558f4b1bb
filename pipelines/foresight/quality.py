"""How large and how long a video is asked for, and what of that can be made. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Quality = Literal["low", "medium", "high"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)
DEFAULT: Quality = "medium"
FPS = 15.0
"""Frames a second of every video."""
_ASKED: dict[Quality, tuple[int, int]] = {"low": (256, 15), "medium": (512, 30), "high": (768, 60)}
"""Quality → side of a square with as many pixels, and frames, of which the first is the picture itself."""
_WIDEST = 4.0
"""A picture that is longer than this many times its width is treated as if it were not."""


@dataclass(frozen=True, slots=True)
class Grain:
    """What a way of making videos allows."""

    side: int = 2
    """Width and height are multiples of it: encoders want even ones."""
    frames: int = 1
    """The number of frames is a multiple of it, and one more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The video that is going to be made."""

    quality: Quality
    width: int
    height: int
    frames: int
    """The picture itself, which is the first, included."""
    fps: float = FPS

    @property
    def asked(self) -> tuple[int, int, int]:
        """Width, height and frames by the quality alone."""
        side, frames = _ASKED[self.quality]
        return side, side, frames

    @property
    def seconds(self) -> float:
        """From the picture to the last frame."""
        return (self.frames - 1) / self.fps

    @property
    def smaller(self) -> Plan | None:
        """What is tried when there is no room for this one; ``None`` for the smallest."""
        place = QUALITIES.index(self.quality)
        return None if not place else plan_for(QUALITIES[place - 1], self.width, self.height)


def plan_for(quality: Quality, width: int, height: int, grain: Grain | None = None) -> Plan:
    """What comes closest to ``quality`` for a picture of this size: its shape, and as many pixels as the square has."""
    grain = grain or Grain()
    side, frames = _ASKED[quality]
    shape = min(max(width / height, 1 / _WIDEST), _WIDEST)
    return Plan(
        quality,
        _nearest(side * math.sqrt(shape), grain.side),
        _nearest(side / math.sqrt(shape), grain.side),
        _nearest(frames - 1, grain.frames) + 1,
    )


def _nearest(wanted: float, step: int) -> int:
    return max(1, round(wanted / step)) * step
