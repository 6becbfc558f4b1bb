"""Finding a picture that the client supplies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from media.frames import Picture
from pipelines.errors import VisionError
from pipelines.vision.settings import TemplateImage
from pipelines.vision.templates import Templates
from pipelines.vision.tracking import TrackedTracker


def drawing(seed: int = 3, side: int = 120) -> np.ndarray:
    """Something with shapes in it, like a logo."""
    random = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 240, np.uint8)
    for _ in range(8):
        x, y, radius = (int(value) for value in random.integers(10, side - 10, 3) // (1, 1, 4))
        cv2.circle(pixels, (x, y), radius, tuple(int(value) for value in random.integers(0, 255, 3)), cv2.FILLED)
    return pixels


def room(seed: int = 5) -> np.ndarray:
    """A cluttered room with noise."""
    random = np.random.default_rng(seed)
    pixels = np.full((480, 640, 3), 130, np.uint8)
    for _ in range(60):
        (left, top), (right, bottom) = random.integers(0, 480, (2, 2))
        cv2.rectangle(pixels, (int(left), int(top)), (int(right), int(bottom)), random.integers(0, 255, 3).tolist(), 3)
    return np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)


def with_it(size: int, x: int, y: int) -> np.ndarray:
    pixels = room()
    pixels[y : y + size, x : x + size] = cv2.resize(drawing(), (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(0.8 * cv2.GaussianBlur(pixels, (0, 0), 1.0), 0, 255).astype(np.uint8)


def image(name: str = "logo", pixels: np.ndarray | None = None) -> TemplateImage:
    pixels = drawing() if pixels is None else pixels
    return TemplateImage(name, cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes())


@pytest.mark.parametrize("size", [72, 90, 110, 140, 200, 290, 400])
def test_it_is_found_at_any_size_within_three_pictures(size: int) -> None:
    templates, pixels = Templates([image()]), with_it(size, 150, 40)
    found = [templates.find(pixels) for _ in range(4)]
    assert any(found[:3])
    (seen,) = found[-1]  # and again in the next
    assert (seen.kind, seen.label) == ("object", "logo")
    assert seen.score > 0.7
    x, y, width, height = seen.box
    assert (640 * x, 480 * y) == pytest.approx((150, 40), abs=0.1 * size)
    assert (640 * width, 480 * height) == pytest.approx((size, size), rel=0.1)


def test_where_it_is_not_it_is_not_found() -> None:
    templates = Templates([image()])
    for seed in range(5):
        assert [templates.find(room(seed)) for _ in range(4)] == [[]] * 4


def test_when_it_goes_it_is_gone_at_once_and_found_again() -> None:
    templates, pixels = Templates([image()]), with_it(140, 300, 200)
    assert any(templates.find(pixels) for _ in range(3))
    assert templates.find(room()) == []
    assert any(templates.find(pixels) for _ in range(3))


def test_several_are_told_apart() -> None:
    templates = Templates([image("circles"), image("others", drawing(11))])
    for _ in range(4):
        found = templates.find(with_it(140, 100, 100))
    assert [seen.label for seen in found] == ["circles"]


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (20, 20), (2160, 3840)])
def test_pictures_of_any_size(shape: tuple[int, int]) -> None:
    assert Templates([image()]).find(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize(
    ("images", "code", "message"),
    [
        ([TemplateImage("x", b"hello")], "image_unusable", "template 'x' is neither a JPEG nor a PNG"),
        ([image("x", drawing()[:9])], "template_unusable", "template 'x' has 120x9 pixels; it needs 16 a side"),
        (
            [image("x", np.full((50, 50, 3), 200, np.uint8))],
            "template_unusable",
            "template 'x' is a plain surface, which is found anywhere",
        ),
        ([image()] * 5, "template_unusable", "5 templates; at most 4 are looked for"),
    ],
    ids=["no picture", "small", "plain", "many"],
)
def test_what_cannot_be_looked_for_is_told(images: list[TemplateImage], code: str, message: str) -> None:
    with pytest.raises(VisionError) as caught:
        Templates(images)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_session_follows_it_like_any_other_thing() -> None:
    class Nothing:
        def detect(self, picture: Picture) -> tuple[()]:
            return ()

    tracker = TrackedTracker(Nothing())  # type: ignore[arg-type]
    tracker.look_for([image("cup")])
    seen = ()
    for number in range(6):
        seen = tracker.detect(Picture(with_it(140, 100 + 10 * number, 100), number / 12))
    (cup,) = seen
    assert (cup.label, cup.id) == ("cup", 0)
    assert len(cup.trail) > 2
    tracker.reset()
    assert tracker.detect(Picture(with_it(140, 100, 100), 1.0)) == ()
