"""The overlay: something is drawn, in the right place, on whatever picture comes."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.ports import Detection
from pipelines.vision.overlay import draw

FACE = Detection("face", 0, (0.25, 0.25, 0.5, 0.5), 0.93, "", np.full((6, 2), 0.5, np.float32))


def skeleton(kind: str, count: int, seed: int = 0, low: float = 0.1, high: float = 0.9) -> Detection:
    points = np.random.default_rng(seed).uniform(low, high, (count, 2)).astype(np.float32)
    return Detection(kind, 0, (0.1, 0.1, 0.8, 0.8), 0.9, "left" if kind == "hand" else "", points)  # type: ignore[arg-type]


HAND, POSE = skeleton("hand", 21), skeleton("pose", 33)


def picture(width: int = 320, height: int = 240, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def touched(pixels: np.ndarray, value: int = 128) -> np.ndarray:
    """Which pixels were drawn on, shape ``(height, width)``."""
    return (pixels != value).any(axis=2)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("detection", [FACE, HAND, POSE], ids=lambda found: found.kind)
def test_lines_are_bright_with_a_dark_outline(detection: Detection, value: int) -> None:
    pixels = picture(value=value)
    draw(pixels, [detection], labels=False)
    drawn = pixels[touched(pixels, value)].astype(int).max(axis=1)
    assert 200 < len(drawn) < pixels[..., 0].size / 3
    assert (drawn > 200).any()
    assert (drawn < 40).any()


def test_a_face_is_framed_by_its_box_with_round_corners() -> None:
    pixels = picture()
    draw(pixels, [FACE], labels=False)
    drawn = touched(pixels)
    for x, y in ((160, 60), (160, 180), (80, 120), (240, 120), (160, 120)):  # four edges and the key points
        assert drawn[y, x]
    for x, y in ((80, 60), (240, 60), (80, 180), (240, 180)):  # the corners are cut
        assert not drawn[y, x]
    assert not drawn[:50].any()


def test_a_label_can_be_left_out() -> None:
    with_label, without = picture(), picture()
    draw(with_label, [FACE])
    draw(without, [FACE], labels=False)
    assert touched(with_label)[:60].sum() > touched(without)[:60].sum()


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.1, 0.1), (0.95, 0.95, 0.05, 0.05), (0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0, 0)]
)
def test_labels_at_the_edge_stay_in_the_picture(box: tuple[float, float, float, float]) -> None:
    draw(picture(), [Detection("face", 0, box, 1.0)])


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 47), (97, 640), (641, 479), (1920, 1080)])
def test_pictures_of_any_size_are_drawn_on(width: int, height: int) -> None:
    pixels = picture(width, height)
    draw(pixels, [FACE, HAND, POSE])
    assert touched(pixels).any()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (31, 480), (0, 0)])
def test_tiny_pictures_are_left_alone(width: int, height: int) -> None:
    pixels = picture(width, height)
    draw(pixels, [FACE, HAND, POSE])
    assert not touched(pixels).any()


def test_a_picture_that_is_not_contiguous_is_drawn_on_in_place() -> None:
    whole, plain = picture(640, 480), picture()
    mirrored = whole[::2, ::-2]
    draw(mirrored, [FACE, HAND])
    draw(plain, [FACE, HAND])
    assert (mirrored == plain).all()
    assert not touched(whole)[1::2].any()


def test_landmarks_outside_the_picture_or_broken_do_no_harm() -> None:
    outside = skeleton("pose", 33, low=1.2, high=1e9)
    broken = Detection("hand", 0, (0, 0, 1, 1), 0.5, "", np.full((21, 2), np.nan, np.float32))
    pixels = picture()
    draw(pixels, [outside, broken], labels=False)
    assert not touched(pixels).any()


def test_a_detection_without_landmarks_is_labelled_only() -> None:
    pixels = picture()
    draw(pixels, [Detection("hand", 0, (0.3, 0.3, 0.2, 0.2), 0.5, "left"), Detection("pose", 0, (0, 0, 1, 1), 0.5)])
    assert touched(pixels).any()


def test_nothing_found_nothing_drawn() -> None:
    pixels = picture()
    draw(pixels, [])
    assert not touched(pixels).any()
