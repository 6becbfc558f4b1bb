"""Hands made of bones and angles: what a landmark network would say of them, for tests without pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Curls = tuple[float, float, float, float]

_BASES = np.array([(0.025, -0.088, 0.0), (0.003, -0.09, 0.0), (-0.017, -0.083, 0.0), (-0.035, -0.073, 0.0)])
"""Where the index, middle, ring and little finger begin, metres from the wrist; a right hand, palm to the camera."""
_BONES = ((0.040, 0.025, 0.020), (0.044, 0.028, 0.021), (0.041, 0.026, 0.021), (0.032, 0.020, 0.019))
_FLEXION = np.radians((85.0, 105.0, 65.0))
"""Of the three joints of a finger that is folded."""

_LYING = np.array([(0.022, -0.018, -0.014), (0.036, -0.045, -0.030), (0.018, -0.062, -0.044), (-0.002, -0.068, -0.046)])
_STANDING = np.array(
    [(0.024, -0.020, -0.008), (0.054, -0.038, -0.014), (0.082, -0.055, -0.016), (0.106, -0.068, -0.018)]
)
"""The thumb's four points."""


@dataclass(frozen=True)
class Pose:
    """What a hand does."""

    curls: Curls = (0.0, 0.0, 0.0, 0.0)
    """Index to little finger: 0 stretched, 1 folded."""
    thumb: float = 1.0
    """1 stands off the palm, 0 lies on it."""
    spread: float = 8.0
    """Degrees between neighbouring fingers."""
    roll: float = 0.0
    """Degrees that the hand is turned in the picture, clockwise as one sees it; mirrored with the hand."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Degrees about the picture's horizontal and vertical axes."""
    mirrored: bool = False
    """The other hand, or the back of this one."""


SIGNS = {
    "Closed_Fist": Pose((1, 1, 1, 1), thumb=0),
    "Open_Palm": Pose(),
    "Pointing_Up": Pose((0, 1, 1, 1), thumb=0),
    "Thumb_Up": Pose((1, 1, 1, 1), roll=-75),
    "Thumb_Down": Pose((1, 1, 1, 1), roll=105),
    "Victory": Pose((0, 0, 1, 1), thumb=0, spread=16),
    "ILoveYou": Pose((0, 1, 1, 0)),
}
"""The seven gestures as anybody would show them."""

OTHERS = {
    "three": Pose((0, 0, 0, 1), thumb=0),
    "four": Pose(thumb=0),
    "call": Pose((1, 1, 1, 0), thumb=1, roll=-30),
    "horns": Pose((0, 1, 1, 0), thumb=0),
    "pointing aside": Pose((0, 1, 1, 1), thumb=0, roll=90),
    "pointing down": Pose((0, 1, 1, 1), thumb=0, roll=180),
    "thumb aside": Pose((1, 1, 1, 1), roll=15),
    "half open": Pose((0.5, 0.5, 0.5, 0.5), thumb=0.5),
    "little finger": Pose((1, 1, 1, 0), thumb=0),
}
"""Hands that make none of them."""


def hand(pose: Pose, noise: float = 0.0, seed: int = 0) -> Points:
    """The 21 points of a hand in metres, shape ``(21, 3)``; ``noise`` is their standard deviation in metres."""
    points = [np.zeros(3), *_thumb(pose.thumb)]
    for number, base in enumerate(_BASES):
        aside = np.radians(pose.spread * (1.3 - number) * (1 - 0.7 * pose.curls[number]))
        points += _finger(base, _BONES[number], pose.curls[number], float(aside))
    whole = np.array(points)
    whole -= whole[[0, 5, 17]].mean(axis=0)
    if pose.mirrored:
        whole = whole * (-1, 1, 1)
    roll = -pose.roll if pose.mirrored else pose.roll
    whole = whole @ _turn(0, pose.tilt[0]).T @ _turn(1, pose.tilt[1]).T @ _turn(2, roll).T
    return whole + np.random.default_rng(seed).normal(0, noise, whole.shape)


def varied(pose: Pose, rng: np.random.Generator) -> Pose:
    """The same as another person would do it, seen from somewhere else."""

    def about(value: float, by: float) -> float:
        return float(np.clip(value + rng.uniform(-by, by), 0, 1))

    first, second, third, fourth = (about(curl, 0.12) for curl in pose.curls)
    return replace(
        pose, curls=(first, second, third, fourth), thumb=about(pose.thumb, 0.15),
        spread=pose.spread + float(rng.uniform(-2, 4)), roll=pose.roll + float(rng.uniform(-15, 15)),
        tilt=(float(rng.uniform(-20, 20)), float(rng.uniform(-20, 20))), mirrored=bool(rng.random() < 0.5),
    )  # fmt: skip


def _finger(base: Points, bones: tuple[float, ...], curl: float, aside: float) -> list[Points]:
    points, angle = [base], 0.0
    for bone, most in zip(bones, _FLEXION, strict=True):
        angle += curl * most
        away = np.cos(angle)
        points.append(points[-1] + bone * np.array([np.sin(aside) * away, -np.cos(aside) * away, -np.sin(angle)]))
    return points


def _thumb(out: float) -> list[Points]:
    """From lying across the palm to standing off it."""
    return list(_LYING + out * (_STANDING - _LYING))


def _turn(axis: int, degrees: float) -> NDArray[Any]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    one, other = [n for n in range(3) if n != axis]
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = c
    matrix[one, other], matrix[other, one] = -s, s
    return matrix
