"""Frames ↔ pictures: colours, timestamps, and every odd size."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from media.frames import reduced
from media.video_convert import Converter, frame_time
from pipelines.vision.compositor import returned_size
from tests.fakes.peer import picture_frame

SIZES = [(1, 1), (2, 2), (3, 5), (17, 33), (320, 240), (641, 479), (3840, 2160)]


def colours(width: int, height: int) -> np.ndarray:
    """Smooth colours, as in a photograph, shape ``(height, width, 3)``."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 127 // (width + height)], -1).astype(np.uint8)


def coloured_frame(width: int, height: int, pts: int = 3000) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(colours(width, height), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = pts, Fraction(1, 90_000)
    return frame


def test_there_and_back_keeps_colours_and_timestamps():
    frame = coloured_frame(320, 240)
    picture = Converter().picture(frame)
    assert picture.time == pytest.approx(3000 / 90_000)
    assert np.abs(picture.pixels.astype(int) - colours(320, 240)).mean() < 3
    back = Converter().frame(picture.pixels, frame)
    assert (back.pts, back.time_base) == (frame.pts, frame.time_base)
    assert np.abs(back.to_ndarray().astype(int) - frame.to_ndarray()).mean() < 2


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_is_converted_and_comes_back_encodable(width, height):
    frame = picture_frame(width, height, level=200)
    converter = Converter()
    picture = converter.picture(frame)
    assert picture.pixels.shape == (height, width, 3)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    assert abs(float(picture.pixels.mean()) - 200) < 3
    size = returned_size(frame, None, None, 1920)
    back = converter.scaled(frame, *size)
    assert (back.width, back.height) == size
    assert converter.is_encodable(back)
    assert max(size) <= 1920
    assert min(size) >= 2


def test_sizes_may_change_from_frame_to_frame():
    converter = Converter()
    for width, height in [*SIZES, *reversed(SIZES)]:
        assert converter.picture(picture_frame(width, height)).pixels.shape == (height, width, 3)


def test_reducing_keeps_the_shape():
    picture = Converter().picture(coloured_frame(1280, 720), 640)
    assert picture.pixels.shape == (360, 640, 3)
    reference = cv2.resize(colours(1280, 720), (640, 360), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.pixels.astype(int) - reference).mean() < 3
    assert reduced(640, 480, 768) == (640, 480)
    assert reduced(3000, 1, 640) == (640, 1)


def test_frames_without_a_time():
    frame = picture_frame()
    frame.pts = None
    assert frame_time(frame) is None


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells of native threads")
def test_conversions_start_no_threads_of_their_own():
    frame = coloured_frame(640, 480)
    before, kept = len(os.listdir("/proc/self/task")), [Converter() for _ in range(8)]
    for converter in kept:
        converter.picture(frame, 320)
        converter.scaled(frame, 160, 120)
    assert len(os.listdir("/proc/self/task")) == before
