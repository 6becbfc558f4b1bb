"""The crop that follows the subject: where it goes, and that it goes there smoothly."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection
from pipelines.vision.compositor import AutoFrame, cropped, in_crop

STEP = 1 / 30


def face(x: float, y: float = 0.4, size: float = 0.12) -> Detection:
    return Detection("face", 0, (x - size / 2, y - size / 2, size, size), 0.9)


class Operator:
    """Feeds an auto-frame with pictures thirty times a second."""

    def __init__(self) -> None:
        self.frame = AutoFrame()
        self.time = 0.0
        self.crops: list[tuple[float, ...]] = []

    def show(self, *detections: Detection, seconds: float) -> tuple[float, ...]:
        for _ in range(round(seconds / STEP)):
            crop = self.frame.update(detections, self.time)
            self.crops.append(crop)
            self.time += STEP
            x, y, width, height = crop
            assert 0 <= x <= 1 - width + 1e-9
            assert 0 <= y <= 1 - height + 1e-9
            assert width == height  # of the picture's shape
        return self.crops[-1]

    def moves(self) -> np.ndarray:
        return np.abs(np.diff(np.array(self.crops), axis=0)).max(axis=1)


def holds(crop: tuple[float, ...], box: tuple[float, ...]) -> bool:
    inside = crop[0] <= box[0] and box[0] + box[2] <= crop[0] + crop[2]
    return inside and crop[1] <= box[1] and box[1] + box[3] <= crop[1] + crop[3]


def test_the_whole_picture_is_shown_while_nobody_is_there() -> None:
    assert Operator().show(seconds=3) == (0, 0, 1, 1)


def test_it_closes_in_on_a_face_and_keeps_room_around_it() -> None:
    crop = Operator().show(face(0.3), seconds=4)
    assert crop[2] == pytest.approx(0.4, abs=0.03)
    assert crop[0] + crop[2] / 2 == pytest.approx(0.3, abs=0.03)
    assert holds(crop, face(0.3).box)


def test_it_starts_and_stops_gently_and_does_not_overshoot() -> None:
    operator = Operator()
    operator.show(face(0.3), seconds=4)
    start = len(operator.crops)
    operator.show(face(0.7), seconds=4)
    xs = np.array(operator.crops)[start - 1 :, 0]
    assert (np.diff(xs) >= -1e-9).all()  # one way only
    steps = np.diff(xs)
    assert steps[0] < 0.2 * steps.max()  # gently
    assert steps.max() < 0.025
    assert xs[-1] - xs[0] == pytest.approx(0.4, abs=0.02)
    assert np.argmax(xs >= xs[-1] - 0.04) * STEP < 2


def test_it_rests_while_a_face_only_trembles() -> None:
    operator = Operator()
    operator.show(face(0.5), seconds=5)
    rested = len(operator.crops)
    random = np.random.default_rng(2)
    for _ in range(200):
        dx, dy = 0.004 * random.standard_normal(2)
        operator.show(face(0.5 + dx, 0.4 + dy), seconds=STEP)
    assert operator.moves()[rested:].max() == 0


def test_two_people_are_both_shown() -> None:
    operator = Operator()
    operator.show(face(0.3), seconds=3)
    crop = operator.show(face(0.3), face(0.8), seconds=4)
    assert holds(crop, face(0.3).box)
    assert holds(crop, face(0.8).box)


def test_it_waits_before_it_widens_and_forgets_nothing_in_a_moment() -> None:
    operator = Operator()
    near = operator.show(face(0.3), seconds=5)
    assert operator.show(seconds=1.5) == near
    assert operator.show(seconds=6) == pytest.approx((0, 0, 1, 1), abs=0.02)


def test_a_face_at_the_edge_keeps_the_crop_in_the_picture() -> None:
    crop = Operator().show(face(0.98, 0.97), seconds=4)
    assert crop[0] + crop[2] == pytest.approx(1, abs=0.03)


def test_clocks_may_jump() -> None:
    operator = Operator()
    operator.show(face(0.3), seconds=3)
    operator.time -= 1000
    operator.show(face(0.7), seconds=0.2)
    operator.time += 5000
    operator.show(face(0.7), seconds=1)
    assert operator.moves().max() < 0.15


def test_pixels_are_cut_out_and_detections_follow() -> None:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    crop = (0.5, 0.25, 0.5, 0.5)
    part = cropped(pixels, crop, (30, 20))
    assert (part == pixels[10:30, 30:60]).all()
    assert cropped(pixels, crop, (60, 40)).shape == (40, 60, 3)
    assert cropped(pixels, (0.0, 0.0, 1.0, 1.0), (60, 40)) is pixels
    assert cropped(pixels[:1, :1], (0.9, 0.9, 0.1, 0.1), (1, 1)).shape == (1, 1, 3)
    points = np.array([[0.75, 0.5]], np.float32)
    (seen,) = in_crop([Detection("hand", 0, (0.5, 0.25, 0.25, 0.5), 0.9, "left", points)], crop)
    assert seen.box == (0, 0, 0.5, 1)
    assert seen.points == pytest.approx(np.array([[0.5, 0.5]]))
    assert seen.trail.shape == (0, 2)
