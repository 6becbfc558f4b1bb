"""What can be said of a picture without a model that looks: how it moves. Pure."""

from __future__ import annotations

import numpy as np

from media.frames import Pixels
from pipelines.foresight.motion import Movement, movement
from pipelines.vision.images import smaller

LOOKED_AT = 192
"""Pixels of the longer side: words need no more."""
_SLOW, _FAST = 0.05, 0.4
"""Of the picture's width, in a second."""
_ALL = 0.6
"""Of the pixels: when so many move, it is the camera that does, or everything."""
_DIRECTIONS = ("right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right")
STILL_PICTURE = (
    "This is one picture, and nothing in it tells what moves. The video only comes closer: it foretells nothing. ",
    "No model that looks at pictures is here to say what it shows. ",
)
NOTHING_MOVES = ("Nothing moves between the last two pictures. ", "If that goes on, everything stays where it is. ")


def told(picture: Pixels, earlier: Pixels | None, seconds: float) -> tuple[str, ...]:
    """Sentences, each with a space behind it. Blocking, some 20 ms."""
    if earlier is None:
        return STILL_PICTURE
    now = smaller(picture, LOOKED_AT)
    return described(movement(smaller(earlier, LOOKED_AT), now, seconds))


def described(moving: Movement) -> tuple[str, ...]:
    """The same of a movement."""
    speed = np.linalg.norm(moving.velocity, axis=2)
    moves = speed > 0
    if moving.still or moves.mean() < 0.002:
        return NOTHING_MOVES
    height, width = speed.shape
    share = float(moves.mean())
    x, y = (float(np.median(moving.velocity[..., n][moves])) for n in (0, 1))
    pace = float(np.hypot(x, y)) / width
    way = _direction(x, y)
    if share >= _ALL:
        what = f"Nearly the whole picture moves {way}"
    else:
        rows, columns = np.nonzero(moves)
        what = f"Something {_place(float(columns.mean()) / width, float(rows.mean()) / height)} moves {way}"
    how = "slowly" if pace < _SLOW else "fast" if pace > _FAST else "steadily"
    sure = "well" if moving.agreement > 0.7 else "fairly well" if moving.agreement > 0.4 else "badly"
    return (
        f"{what}, {how}. ",
        "The video goes on with that movement and lets it die away. ",
        f"It can be followed {sure}, so expect the first moments to be right and the later ones to be guesses. ",
    )


def _direction(x: float, y: float) -> str:
    return _DIRECTIONS[round(np.arctan2(y, x) / (np.pi / 4)) % 8]


def _place(x: float, y: float) -> str:
    row = "at the top" if y < 1 / 3 else "at the bottom" if y > 2 / 3 else "in the middle"
    side = " on the left" if x < 1 / 3 else " on the right" if x > 2 / 3 else ""
    return row + side
