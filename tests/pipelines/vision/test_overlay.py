"""The overlay: something is drawn, in the right place, on whatever picture comes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection
from pipelines.vision.captions import Caption
from pipelines.vision.overlay import Readout, draw
from pipelines.vision.settings import OverlaySettings
from pipelines.vision.text_sprites import Style, plate, text_width, wrap

LINES = OverlaySettings(labels=False)
NOTHING = OverlaySettings(boxes=False, landmarks=False, labels=False, captions=False)
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
    draw(pixels, [detection], LINES)
    drawn = pixels[touched(pixels, value)].astype(int).max(axis=1)
    assert 100 < len(drawn) < pixels[..., 0].size / 3
    assert (drawn > 200).any()
    assert (drawn < 40).any()


def test_the_corners_of_a_face_are_marked():
    pixels = picture()
    draw(pixels, [FACE], LINES)
    drawn = touched(pixels)
    for x, y in ((100, 60), (220, 60), (80, 75), (240, 165), (160, 120)):  # arms of the corners, and the key points
        assert drawn[y, x]
    for x, y in ((80, 60), (240, 180), (160, 60), (80, 120)):  # corners are round, edges are open
        assert not drawn[y, x]
    assert not drawn[:50].any()


def test_a_label_can_be_left_out() -> None:
    with_label, without = picture(), picture()
    draw(with_label, [FACE])
    draw(without, [FACE], LINES)
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
    draw(pixels, [outside, broken], LINES)
    assert not touched(pixels).any()


def test_a_detection_without_landmarks_is_labelled_only() -> None:
    pixels = picture()
    draw(pixels, [Detection("hand", 0, (0.3, 0.3, 0.2, 0.2), 0.5, "left"), Detection("pose", 0, (0, 0, 1, 1), 0.5)])
    assert touched(pixels).any()


def test_each_part_can_be_switched_off() -> None:
    captions, readout = [Caption("user", "hello")], Readout(fps=30)
    pixels = picture()
    draw(pixels, [FACE, HAND, POSE], NOTHING, captions, readout)
    assert not touched(pixels).any()
    for part in ("boxes", "landmarks", "labels", "captions", "latency"):
        pixels = picture()
        draw(pixels, [FACE, HAND, POSE], replace(NOTHING, **{part: True}), captions, readout)
        assert touched(pixels).any(), part


def test_a_face_mesh_is_drawn_as_contours() -> None:
    mesh = replace(FACE, points=skeleton("face", 478, low=0.3, high=0.7).points)
    pixels, key_points = picture(640, 480), picture(640, 480)
    draw(pixels, [mesh], replace(NOTHING, landmarks=True))
    draw(key_points, [FACE], replace(NOTHING, landmarks=True))
    assert touched(pixels).sum() > 10 * touched(key_points).sum()


def test_bodies_leave_the_head_to_the_face() -> None:
    alone, with_face = picture(), picture()
    draw(alone, [POSE], LINES)
    draw(with_face, [replace(FACE, box=(0, 0, 0, 0), points=FACE.points[:0]), POSE], LINES)
    assert touched(with_face).sum() < touched(alone).sum()


def test_hands_leave_a_trail() -> None:
    way = np.array([(0.1, 0.9), (0.5, 0.9), (0.9, 0.9)], np.float32)
    pixels = picture()
    draw(pixels, [Detection("hand", 0, (0.8, 0.8, 0.1, 0.1), 0.9, trail=way)], LINES)
    assert touched(pixels)[215, 40:280].all()


def test_a_label_covers_no_face() -> None:
    hand = Detection("hand", 0, (0.4, 0.75, 0.2, 0.1), 0.9, "left", gesture="thumbs up")
    pixels = picture()
    draw(pixels, [replace(FACE, points=FACE.points[:0]), hand], replace(NOTHING, labels=True))
    assert not touched(pixels)[70:170, 90:230].any()


def test_captions_are_readable_on_any_picture() -> None:
    for value in (0, 128, 255):
        pixels = picture(value=value)
        draw(pixels, [], None, [Caption("assistant", "Grüße aus Łódź")])
        low = pixels[160:].astype(int).max(axis=2)
        assert (low > 240).sum() > 50, "letters are white"
        assert (low < 110).sum() > 500, "on a dark ground"
        assert not touched(pixels, value)[:120].any()


def test_a_caption_that_fades_is_less_to_be_seen() -> None:
    def weight(opacity: float) -> int:
        pixels = picture()
        draw(pixels, [], None, [Caption("user", "hello", True, opacity)])
        return int(np.abs(pixels.astype(int) - 128).sum())

    assert weight(1.0) > weight(0.5) > weight(0.2) > weight(0.01) == 0


def test_long_captions_show_their_end() -> None:
    text = " ".join(f"word{n}" for n in range(60))
    size = 18
    lines = wrap(text, 280, size)
    assert all(text_width(line, size) <= 280 for line in lines)
    assert " ".join(lines) == text
    assert wrap(text[:200].rsplit(" ", 1)[0], 280, size)[:-1] == lines[: len(wrap(text[:200], 280, size)) - 1]
    pixels = picture()
    draw(pixels, [], None, [Caption("user", text), Caption("assistant", text)])
    assert not touched(pixels)[:80].any()


def test_a_word_wider_than_the_picture_does_no_harm() -> None:
    draw(picture(), [], None, [Caption("user", "x" * 200)])


def test_the_read_out_leaves_out_what_is_not_known() -> None:
    assert Readout().text() == ""
    assert Readout(29.97, 0.012, None, 0.3117).text() == "30 fps · delay 12 ms · voice 312 ms"


def test_umlauts_are_letters_of_their_own() -> None:
    style = Style(20)
    assert not np.array_equal(plate(["ü"], style).ink, plate(["u"], style).ink)
    assert plate(["hello"], style) is plate(["hello"], style), "made once"


def test_nothing_found_nothing_drawn() -> None:
    pixels = picture()
    draw(pixels, [])
    assert not touched(pixels).any()
