"""What a face expresses, told from its mesh."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.engines.mediapipe.mesh_expression import Mesh, expression_of_mesh, turn_of_mesh

POINTS = {
    "cheeks": ((234, (-70, 0, 40)), (454, (70, 0, 40))),
    "height": ((10, (0, -85, 0)), (152, (0, 85, 0))),
    "lips": ((13, (0, 38, -10)), (14, (0, 40, -10)), (61, (-25, 40, 0)), (291, (25, 40, 0))),
    "right eye": ((33, (-45, -30, 5)), (133, (-18, -30, 0)), (160, (-36, -34, 0)), (158, (-27, -34, 0)),
                  (144, (-36, -27, 0)), (153, (-27, -27, 0))),
    "left eye": ((263, (45, -30, 5)), (362, (18, -30, 0)), (387, (36, -34, 0)), (385, (27, -34, 0)),
                 (373, (36, -27, 0)), (380, (27, -27, 0))),
}  # fmt: skip
"""A plain face in millimetres, only the points that are looked at."""


def plain() -> NDArray[np.float64]:
    mesh = np.zeros((478, 3))
    for part in POINTS.values():
        for number, place in part:
            mesh[number] = place
    return mesh


def turned(mesh: Mesh, yaw: float, pitch: float = 0.0) -> Mesh:
    """To the person's left, and down, in degrees."""
    a, b = np.radians(yaw), np.radians(pitch)
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return mesh @ (about_y @ about_x).T


def test_a_plain_face_expresses_nothing() -> None:
    looks = expression_of_mesh(plain())
    assert looks.mouth_open == 0
    assert looks.smile < 0.1
    assert looks.eyes_closed < 0.3
    assert (looks.yaw, looks.pitch) == pytest.approx((0, 0), abs=1e-6)


def test_lips_that_part_open_the_mouth_more_and_more() -> None:
    amounts = []
    for gap in (4, 10, 20, 30, 60):
        mesh = plain()
        mesh[14, 1] = mesh[13, 1] + gap
        amounts.append(expression_of_mesh(mesh).mouth_open)
    assert amounts[0] == 0
    assert all(one < other for one, other in pairwise(amounts))
    assert amounts[-1] == 1


def test_a_wide_mouth_smiles() -> None:
    mesh = plain()
    mesh[[61, 291], 0] = (-32, 32)
    assert expression_of_mesh(mesh).smile > 0.9


def test_eyes_are_closed_when_both_are() -> None:
    mesh = plain()
    mesh[[160, 158, 144, 153], 1] = -30
    assert expression_of_mesh(mesh).eyes_closed < 0.3  # a wink
    mesh[[387, 385, 373, 380], 1] = -30
    assert expression_of_mesh(mesh).eyes_closed == 1


@pytest.mark.parametrize("scale", [0.01, 1, 20])
def test_neither_size_nor_place_nor_turning_matters(scale: float) -> None:
    mesh = plain()
    mesh[14, 1] += 20
    looks = expression_of_mesh(mesh)
    other = expression_of_mesh(turned(mesh, 25, -10) * scale + 7)
    assert (other.mouth_open, other.smile, other.eyes_closed) == pytest.approx(
        (looks.mouth_open, looks.smile, looks.eyes_closed)
    )


def test_where_a_head_is_turned_has_a_sign_and_an_amount() -> None:
    for yaw in (-40.0, -10.0, 10.0, 40.0):
        assert turn_of_mesh(turned(plain(), yaw))[0] == pytest.approx(yaw, abs=0.5)
    for pitch in (-20.0, 20.0):
        assert abs(turn_of_mesh(turned(plain(), 0, pitch))[1]) == pytest.approx(20, abs=0.5)


def test_a_mesh_without_extent_is_no_error() -> None:
    looks = expression_of_mesh(np.zeros((478, 3)))
    assert 0 <= looks.mouth_open <= 1
