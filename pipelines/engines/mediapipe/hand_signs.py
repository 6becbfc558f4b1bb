"""Which of seven gestures a hand shows, told from its 21 points alone.

For machines without MediaPipe's gesture model. The labels are that model's, and so is the meaning of the score: the
share of belief that falls to a label, of which ``None`` gets what no gesture takes. Each gesture is a list of
conditions that must all hold — fingers stretched or folded, the thumb out or in, up or down — and counts as much as
the worst of them.

Points are in space, as of MediaPipe's world landmarks: any unit, x to the right and y down in the picture, z away from
the camera. Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Hand = NDArray[np.floating[Any]]
"""Shape ``(21, 3)``: wrist, thumb, index, middle, ring and little finger, of each finger four points to its tip."""

NONE = "None"
_WRIST, _THUMB_BASE, _THUMB_TIP, _LITTLE_BASE = 0, 2, 4, 17
_FINGERS = (5, 9, 13, 17)
"""The first point of the index, middle, ring and little finger."""
_FOLDED, _STRETCHED = 0.3, 0.8
"""How much farther from the wrist than its base a finger's tip is, in lengths of the finger."""
_THUMB_IN, _THUMB_OUT = 0.0, 0.7
"""How much farther from the little finger's base than its own base a thumb's tip is, in lengths of the thumb."""
_SLANT_MOST, _SLANT_LEAST = 0.35, 0.9
"""Cosine of the angle to the vertical at which something does not point up at all, and does so fully."""
_TOGETHER, _SPREAD = 4.0, 14.0
"""Degrees between index and middle finger: closed, and the sign of victory."""


def sign_of(hand: Hand) -> tuple[str, float]:
    """MediaPipe's name of the gesture, or ``None``, and its score 0–1."""
    scores = signs(hand)
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best]


def signs(hand: Hand) -> dict[str, float]:
    """The score of every gesture and of ``None``; they add up to one."""
    index, middle, ring, little = (_stretched(hand, base) for base in _FINGERS)
    thumb = _thumb_out(hand)
    fist = [1 - index, 1 - middle, 1 - ring, 1 - little]
    up = _points_up(hand[_THUMB_TIP] - hand[_THUMB_BASE])
    beliefs = {
        "Closed_Fist": min(*fist, 1 - thumb),
        "Open_Palm": min(index, middle, ring, little, thumb),
        "Pointing_Up": min(index, *fist[1:], _ramp(_points_up(hand[8] - hand[5]), _SLANT_MOST, _SLANT_LEAST)),
        "Thumb_Down": min(*fist, thumb, _ramp(-up, _SLANT_MOST, _SLANT_LEAST)),
        "Thumb_Up": min(*fist, thumb, _ramp(up, _SLANT_MOST, _SLANT_LEAST)),
        "Victory": min(index, middle, *fist[2:], 1 - thumb, _ramp(_spread(hand), _TOGETHER, _SPREAD)),
        "ILoveYou": min(index, little, thumb, fist[1], fist[2]),
    }
    none = max(0.0, 1 - max(beliefs.values()))
    whole = sum(beliefs.values()) + none
    return {name: belief / whole for name, belief in beliefs.items()} | {NONE: none / whole}


def _stretched(hand: Hand, base: int) -> float:
    """How far a finger is stretched, 0–1."""
    joints = hand[base : base + 4]
    length = float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())
    reach = _apart(hand[base + 3], hand[_WRIST]) - _apart(hand[base], hand[_WRIST])
    return _ramp(reach / max(length, 1e-9), _FOLDED, _STRETCHED)


def _thumb_out(hand: Hand) -> float:
    """How far the thumb stands off the palm, 0–1."""
    joints = hand[_THUMB_BASE : _THUMB_TIP + 1]
    length = float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())
    off = _apart(hand[_THUMB_TIP], hand[_LITTLE_BASE]) - _apart(hand[_THUMB_BASE], hand[_LITTLE_BASE])
    return _ramp(off / max(length, 1e-9), _THUMB_IN, _THUMB_OUT)


def _spread(hand: Hand) -> float:
    """Degrees between the index and the middle finger."""
    one, other = hand[8] - hand[5], hand[12] - hand[9]
    cosine = float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _points_up(direction: NDArray[np.floating[Any]]) -> float:
    """Cosine of the angle to the upward vertical."""
    return -float(direction[1]) / max(float(np.linalg.norm(direction)), 1e-9)


def _apart(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    return float(np.linalg.norm(one - other))


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, straight between them."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
