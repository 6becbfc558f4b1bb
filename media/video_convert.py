"""Video frames ↔ RGB pictures. Blocking (a fraction of a millisecond at VGA): meant for a worker thread."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from media.frames import Picture, Pixels

SMALLEST_SIDE = 2
"""Pixels: 4:2:0 chroma has one sample for two by two, and H264 refuses odd sizes."""


def frame_time(frame: av.VideoFrame) -> float | None:
    """Media time of a frame in seconds; ``None`` when it has none."""
    if frame.pts is None or not frame.time_base:
        return None
    return float(frame.pts * frame.time_base)


class Converter:
    """Frames ↔ pictures for one user at a time.

    It keeps libswscale's tables: building them for every frame costs two to three times the conversion of a VGA frame.
    """

    def __init__(self) -> None:
        self._to_rgb = VideoReformatter()
        self._to_yuv = VideoReformatter()

    def picture(self, frame: av.VideoFrame, longest_side: int | None = None) -> Picture:
        """RGB, not larger than ``longest_side`` pixels; reducing and converting are one step."""
        width, height = reduced(frame.width, frame.height, longest_side)
        small = (width, height) != (frame.width, frame.height)
        rgb = self._to_rgb.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA if small else None)
        pixels = np.ascontiguousarray(rgb.to_ndarray(), np.uint8)
        return Picture(pixels, frame_time(frame) or 0.0)

    def scaled(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        """The frame at another size, ready to be encoded, with its timestamps."""
        result = self._to_yuv.reformat(frame, width, height, "yuv420p", interpolation=Interpolation.AREA)
        result.pts, result.time_base = frame.pts, frame.time_base
        return result


def to_frame(pixels: Pixels, like: av.VideoFrame) -> av.VideoFrame:
    """Encode-ready yuv420p with the timestamps of ``like``; an odd row or column is cropped (codecs refuse them).

    ``pixels`` has two rows and columns at least. OpenCV does this in half the time of libswscale.
    """
    even = np.ascontiguousarray(pixels[: pixels.shape[0] & ~1, : pixels.shape[1] & ~1])
    planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def reduced(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """A size of the same shape whose longest side has no more than ``longest_side`` pixels."""
    scale = min(1.0, longest_side / max(width, height)) if longest_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def returned_size(frame: av.VideoFrame, width: int | None, height: int | None, largest: int) -> tuple[int, int]:
    """What size to send a frame back at, even and encodable: the wanted one, or the frame's up to ``largest``.

    Of a wanted width the height follows, and the other way round.
    """
    if width is not None and height is not None:
        wanted = width, height
    elif width is not None:
        wanted = width, round(frame.height * width / frame.width)
    elif height is not None:
        wanted = round(frame.width * height / frame.height), height
    else:
        wanted = reduced(frame.width, frame.height, largest)
    return _even(wanted[0]), _even(wanted[1])


def _even(side: int) -> int:
    return max(SMALLEST_SIDE, side & ~1)


def is_encodable(frame: av.VideoFrame) -> bool:
    """Whether every encoder takes the frame as it is."""
    return frame.width % 2 == 0 and frame.height % 2 == 0 and frame.format.name == "yuv420p"
