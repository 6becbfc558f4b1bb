"""The background of the returned picture, and pictures that clients send."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.vision.background import Backdrop
from pipelines.vision.images import LARGEST_FILE, still
from pipelines.vision.settings import Background

RED, BLUE = (200, 10, 10), (10, 10, 200)


def picture() -> np.ndarray:
    """A red person in the middle of a blue and white chequerboard."""
    pixels = np.full((120, 160, 3), 255, np.uint8)
    pixels[(np.indices((120, 160)) // 8).sum(axis=0) % 2 == 0] = BLUE
    pixels[30:, 60:100] = RED
    return pixels


def outline(shift: int = 0) -> Detection:
    mask = np.zeros((60, 80), np.uint8)
    mask[15:, 30 + shift : 50 + shift] = 255
    return Detection("person", 0, (0.375, 0.25, 0.25, 0.75), 0.9, mask=mask)


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, pixels[:, :, ::-1])[1].tobytes()


def test_kept_is_the_very_same() -> None:
    pixels = picture()
    assert Backdrop(Background()).paint(pixels, [outline()]) is pixels


def test_blurred_the_person_stays_sharp_and_the_background_loses_its_pattern() -> None:
    pixels = picture()
    painted = Backdrop(Background("blur")).paint(pixels, [outline()])
    assert painted.shape == pixels.shape
    assert (painted[50:, 66:94] == pixels[50:, 66:94]).all()
    behind = painted[:, :48].astype(float)
    assert behind.std(axis=(0, 1)).max() < 0.3 * pixels[:, :48].astype(float).std(axis=(0, 1)).max()
    assert (pixels == picture()).all()  # a new array


def test_no_halo_of_the_person_glows_in_the_background() -> None:
    painted = Backdrop(Background("blur")).paint(picture(), [outline()])
    beside = painted[60:, 50:54].astype(int).mean(axis=(0, 1))
    far = painted[60:, 10:14].astype(int).mean(axis=(0, 1))
    assert abs(beside - far).max() < 25


def test_of_one_colour_with_a_feathered_edge() -> None:
    painted = Backdrop(Background("colour", (0, 160, 80))).paint(picture(), [outline()])
    assert (painted[60, 10] == (0, 160, 80)).all()
    assert (painted[60, 80] == RED).all()
    edge = painted[60, 52:68, 1].astype(int)
    assert len({*edge}) > 3  # no hard step
    assert abs(np.diff(edge)).max() < 90


@pytest.mark.parametrize("shape", [(120, 160), (90, 90), (33, 71)])
def test_another_picture_covers_all_of_it(shape: tuple[int, int]) -> None:
    other = np.zeros((50, 200, 3), np.uint8)
    other[:, :, 1] = 90
    backdrop = Backdrop(Background("image", image=encoded(other)))
    pixels = np.zeros((*shape, 3), np.uint8)
    painted = backdrop.paint(pixels, [])
    assert painted.shape == pixels.shape
    assert (painted == (0, 90, 0)).all()
    assert (backdrop.paint(pixels, [outline()])[-1, shape[1] // 2] == 0).all()


def test_of_another_picture_the_middle_is_shown_in_its_own_shape() -> None:
    other = np.zeros((60, 200, 3), np.uint8)
    other[:, 60:140] = (0, 200, 0)
    other[:, :60], other[:, 140:] = RED, BLUE
    other[20:40, 90:110] = 255
    painted = Backdrop(Background("image", image=encoded(other))).paint(np.zeros((120, 160, 3), np.uint8), [])
    assert (painted[10, [2, -3]] == (0, 200, 0)).all(), "red and blue are cut off"
    white = np.nonzero(painted.min(axis=2) > 200)
    assert [np.ptp(axis) + 1 for axis in white] == [pytest.approx(40, abs=3)] * 2, "a square stays one"


@pytest.mark.parametrize("shape", [(1, 4096), (4096, 1), (2, 4096)])
def test_a_very_narrow_picture_is_not_scaled_to_gigabytes(shape: tuple[int, int], monkeypatch) -> None:
    other = np.full((*shape, 3), 90, np.uint8)
    backdrop, made = Backdrop(Background("image", image=encoded(other))), []
    resize = cv2.resize

    def watched(pixels: np.ndarray, size: tuple[int, int], **how: int) -> np.ndarray:
        assert size[0] * size[1] <= 640 * 480
        made.append(size)
        return resize(pixels, size, **how)

    monkeypatch.setattr(cv2, "resize", watched)
    assert (backdrop.paint(np.zeros((480, 640, 3), np.uint8), []) == 90).all()
    assert made == [(640, 480)]


@pytest.mark.parametrize("kind", ["blur", "colour"])
def test_where_nobody_is_known_to_be_everything_is_background(kind: str) -> None:
    pixels = picture()
    painted = Backdrop(Background(kind)).paint(pixels, [Detection("face", 0, (0.4, 0.2, 0.2, 0.2), 0.9)])  # type: ignore[arg-type]
    assert abs(painted[60:, 60:100].astype(int) - RED).max() > 40


def test_an_outline_that_flickers_is_smoothed() -> None:
    backdrop, pixels = Backdrop(Background("colour", (0, 0, 0))), picture()
    backdrop.paint(pixels, [outline()])
    once = backdrop.paint(pixels, [outline(shift=20)])
    assert 0 < int(once[60, 80, 0]) < RED[0]
    same = outline(shift=20)
    for _ in range(8):
        same = outline(shift=20)
        last = backdrop.paint(pixels, [same])
    assert int(last[60, 80, 0]) < 5
    assert (backdrop.paint(pixels, [same]) == last).all()  # the same outline twice is no news


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (480, 2), (3, 5)])
def test_pictures_of_any_size(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    for settings in (Background("blur"), Background("colour")):
        assert Backdrop(settings).paint(pixels, [outline()]).shape == pixels.shape


# ---------------------------------------------------------------------------------------------------- stills


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_still_is_unpacked(suffix: str) -> None:
    pixels = still(encoded(picture(), suffix), "image")
    assert pixels.shape == (120, 160, 3)
    assert abs(pixels[80, 80].astype(int) - RED).max() < 12


def _huge_png() -> bytes:
    data = bytearray(encoded(picture()))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "image is neither a JPEG nor a PNG"),
        (b"GIF89a....................", "image is neither a JPEG nor a PNG"),
        (encoded(picture())[:60], "image is damaged: it cannot be unpacked"),
        (encoded(picture(), ".jpg")[:8], "image is neither a JPEG nor a PNG"),
        (_huge_png(), "image has 60000x60000 pixels; 1 to 4096 a side are taken"),
        (bytes(LARGEST_FILE + 1), f"image has {LARGEST_FILE + 1} bytes; at most {LARGEST_FILE} are taken"),
    ],
    ids=["empty", "gif", "cut png", "cut jpeg", "huge", "heavy"],
)
def test_a_still_that_cannot_be_used_is_told(data: bytes, message: str) -> None:
    with pytest.raises(VisionError) as caught:
        still(data, "image")
    assert (caught.value.code, caught.value.message) == ("image_unusable", message)


def test_a_background_without_its_picture_is_told() -> None:
    backdrop = Backdrop(Background("image", (1, 2, 3)))
    with pytest.raises(VisionError, match=r"background\.image is neither a JPEG nor a PNG"):
        backdrop.paint(picture(), [])
    assert (backdrop.paint(picture(), []) == (1, 2, 3)).all()
