"""What goes back to the camera's owner: cropped, with another background, drawn upon; on frames that are made here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fractions import Fraction

import av
import numpy as np
import pytest

from media.video_convert import Converter
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.camera import Shot
from pipelines.vision.compositor import LARGEST_SIDE, Painter, returned_size
from pipelines.vision.settings import Background, OverlaySettings, VisionSettings
from tests.fakes.peer import picture_frame

PLAIN = OverlaySettings(False, False, False, False)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("painter")
    yield worker
    worker.close()


def frame(number: int = 0) -> av.VideoFrame:
    """Red on the left, blue on the right."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[:, :80, 0], pixels[:, 80:, 2] = 200, 200
    made = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    made.pts, made.time_base = number * 3000, Fraction(1, 90_000)
    return made


def pixels_of(sent: av.VideoFrame | None) -> np.ndarray:
    assert sent is not None
    return sent.to_ndarray(format="rgb24").astype(int)


def outline() -> Detection:
    """The left half is a person."""
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40] = 255
    return Detection("person", 0, (0.0, 0.0, 0.5, 1.0), 0.9, mask=mask)


async def test_another_background_is_put_behind_the_person(worker: Worker) -> None:
    painter = Painter(worker, Converter(), VisionSettings(overlay=PLAIN, background=Background("colour", (0, 220, 0))))
    seen = pixels_of(await painter.render(Shot(frame(), 0.0, (outline(),))))
    assert abs(seen[60, 20] - (200, 0, 0)).max() < 12
    assert abs(seen[60, 140] - (0, 220, 0)).max() < 12
    painter.apply(VisionSettings(overlay=PLAIN))
    back = pixels_of(await painter.render(Shot(frame(1), 0.0, (outline(),))))
    assert abs(back[60, 140] - (0, 0, 200)).max() < 12


async def test_without_an_outline_nothing_of_the_camera_is_shown(worker: Worker) -> None:
    painter = Painter(worker, Converter(), VisionSettings(overlay=PLAIN, background=Background("colour", (0, 220, 0))))
    seen = pixels_of(await painter.render(Shot(frame(), 0.0, ())))
    assert abs(seen - (0, 220, 0)).max() < 12


async def test_a_background_that_is_no_picture_is_told_once_and_its_colour_stands_in(worker: Worker) -> None:
    background = Background("image", (0, 220, 0), b"\x89PNG")
    painter = Painter(worker, Converter(), VisionSettings(overlay=PLAIN, background=background))
    with pytest.raises(VisionError):
        await painter.render(Shot(frame(), 0.0, ()))
    seen = pixels_of(await painter.render(Shot(frame(1), 0.0, ())))
    assert abs(seen - (0, 220, 0)).max() < 12


async def test_the_crop_follows_the_face_and_has_the_size_asked_for(worker: Worker) -> None:
    painter = Painter(worker, Converter(), VisionSettings(overlay=PLAIN, auto_frame=True, width=80, height=60))
    face = Detection("face", 0, (0.05, 0.3, 0.12, 0.12), 0.9)
    for number in range(90):
        sent = await painter.render(Shot(frame(number), 0.0, (face,)))
    seen = pixels_of(sent)
    assert seen.shape == (60, 80, 3)
    assert abs(seen - (200, 0, 0)).max() < 12  # nothing of the blue half


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (None, None, (640, 480)),
        (320, None, (320, 240)),
        (None, 240, (320, 240)),
        (321, None, (320, 240)),
        (100, 100, (100, 100)),
        (1280, None, (1280, 960)),
    ],
)
def test_the_returned_size_follows_what_is_asked_for(width, height, expected):
    assert returned_size(picture_frame(640, 480), width, height, LARGEST_SIDE) == expected


@pytest.mark.parametrize(
    ("frame_size", "width", "height", "expected"),
    [
        ((360, 640), 3840, None, (2160, 3840)),
        ((16, 1920), 3840, None, (32, 3840)),
        ((1920, 16), None, 3840, (3840, 32)),
        ((2, 1920), 1920, None, (4, 3840)),
        ((16, 1920), 3840, 3840, (3840, 3840)),
    ],
)
def test_the_side_that_follows_is_no_longer_than_any_may_be(frame_size, width, height, expected):
    assert returned_size(picture_frame(*frame_size), width, height, LARGEST_SIDE) == expected
