"""Ids that last, trails, and which faces are believed; on made-up detections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection, DetectionKind
from pipelines.vision.tracking import TRAIL_SECONDS, Tracking

STEP = 1 / 12


def at(kind: DetectionKind, x: float, y: float = 0.5, *, size: float = 0.2, label: str = "", score: float = 0.95):
    """Something whose centre is at ``x``, ``y``."""
    return Detection(kind, 0, (x - size / 2, y - size / 2, size, size), score, label)


def body(x: float, y: float = 0.5) -> Detection:
    """Its nose is at ``x``, ``y``."""
    points = np.full((33, 2), 0.9, np.float32)
    points[0] = x, y
    return Detection("pose", 0, (0.0, 0.0, 1.0, 1.0), 0.9, "", points)


class Room:
    """Shows pictures to a tracker, a twelfth of a second apart."""

    def __init__(self) -> None:
        self.tracking = Tracking()
        self.time = 0.0

    def show(self, *detections: Detection, pictures: int = 1) -> tuple[Detection, ...]:
        told: tuple[Detection, ...] = ()
        for _ in range(pictures):
            told = self.tracking.update(detections, self.time)
            self.time += STEP
        return told


def ids(told: tuple[Detection, ...]) -> list[int]:
    return [seen.id for seen in told]


def test_hands_that_cross_keep_their_ids() -> None:
    """Each is expected where it was heading; here that is behind the other."""
    room = Room()
    for step in range(13):
        x = 0.2 + 0.05 * step
        told = room.show(
            at("hand", x, 0.45, size=0.15, label="left"), at("hand", 1 - x, 0.55, size=0.15, label="right")
        )
        assert {seen.label: seen.id for seen in told} == {"left": 0, "right": 1}


def test_two_alike_that_cross_slowly_keep_their_ids_by_their_velocity() -> None:
    room = Room()
    for step in range(25):
        x = 0.3 + step / 60
        told = room.show(at("object", x, 0.4, label="cup"), at("object", 1 - x, 0.5, label="cup"))
    assert [round(seen.box[1] + 0.1, 1) for seen in told] == [0.4, 0.5]
    assert ids(told) == [0, 1]


def test_a_thing_that_is_missed_for_a_moment_is_the_same() -> None:
    room = Room()
    room.show(at("hand", 0.5), pictures=3)
    assert room.show(pictures=4) == ()
    assert ids(room.show(at("hand", 0.52))) == [0]


def test_a_thing_that_was_gone_is_another_and_ids_are_not_used_twice() -> None:
    room = Room()
    room.show(at("hand", 0.5), pictures=3)
    room.show(pictures=8)
    assert ids(room.show(at("hand", 0.5))) == [1]
    assert ids(room.show(at("hand", 0.5), at("hand", 0.9, size=0.1))) == [1, 2]


def test_a_thing_far_away_or_of_another_name_is_another() -> None:
    room = Room()
    room.show(at("object", 0.2, label="cup"), pictures=3)
    assert room.show(at("object", 0.8, label="cup")) == ()  # not yet
    assert ids(room.show(at("object", 0.8, label="cup"))) == [1]
    assert ids(room.show(at("object", 0.8, label="apple"), pictures=2)) == [2]


def test_a_single_odd_object_is_not_told() -> None:
    room = Room()
    assert room.show(at("object", 0.5, label="cup")) == ()
    room.show(pictures=13)
    assert room.show(at("object", 0.5, label="cup")) == ()


def test_the_trail_is_where_it_has_been_and_bounded() -> None:
    room = Room()
    for step in range(100):
        (seen,) = room.show(at("hand", 0.1 + 0.008 * step))
    trail = seen.trail
    assert trail.shape[1] == 2
    assert len(trail) <= math.ceil(TRAIL_SECONDS / STEP) + 1
    assert trail[-1] == pytest.approx((0.892, 0.5), abs=1e-5)
    assert (np.diff(trail[:, 0]) > 0).all()
    for _ in range(500):  # many pictures in no time
        (seen,) = room.tracking.update([at("hand", 0.9)], room.time)
    assert len(seen.trail) <= 24


def test_the_clock_may_be_set_back() -> None:
    room = Room()
    room.time = 1000.0
    room.show(at("hand", 0.5), pictures=3)
    room.time = 0.0
    (seen,) = room.show(at("hand", 0.5))
    assert seen.id == 0
    assert len(seen.trail) == 4
    room.show(pictures=8)
    assert ids(room.show(at("hand", 0.5))) == [1]


def test_outlines_pass_through() -> None:
    outline = Detection("person", 0, (0.1, 0.1, 0.5, 0.5), 0.9, mask=np.zeros((4, 4), np.uint8))
    assert Room().show(outline) == (outline,)


@pytest.mark.parametrize(
    "evidence",
    [
        (at("face", 0.5, score=0.92),),
        (at("face", 0.5, score=0.7), body(0.5)),
        (Detection("face", 0, (0.4, 0.4, 0.2, 0.2), 0.5, "", np.zeros((478, 2), np.float32)),),
    ],
    ids=["score", "body", "mesh"],
)
def test_a_face_that_something_speaks_for_is_told_in_the_second_picture(evidence: tuple[Detection, ...]) -> None:
    room = Room()
    assert "face" not in [seen.kind for seen in room.show(*evidence)]
    assert "face" in [seen.kind for seen in room.show(*evidence)]
    (later,) = room.show(at("face", 0.5, score=0.56))
    assert later.id == 0  # once believed


def test_a_clock_on_the_wall_is_not_told_whatever_the_face_model_says() -> None:
    room = Room()
    random = np.random.default_rng(1)
    for _ in range(600):
        x, y = 0.5 + 0.01 * random.standard_normal(2)
        told = room.show(at("face", x, y, score=random.uniform(0.7, 0.87)), body(0.2))
        assert [seen.kind for seen in told] == ["pose"]


def test_a_face_without_a_body_is_told_once_it_has_moved() -> None:
    room = Room()
    assert room.show(at("face", 0.3, score=0.7), pictures=30) == ()
    assert ids(room.show(at("face", 0.36, score=0.7), pictures=2)) == [0]


def test_a_second_face_needs_evidence_of_its_own() -> None:
    room = Room()
    told = room.show(at("face", 0.3, score=0.7), at("face", 0.8, score=0.8), body(0.3), pictures=20)
    assert [(seen.kind, round(seen.box[0], 2)) for seen in told] == [("face", 0.2), ("pose", 0.0)]
