"""PyAV's video frames ↔ RGB pictures, and what its files say about them.

Blocking (a fraction of a millisecond at VGA): meant for a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.stream import Stream
from av.video.reformatter import Interpolation, VideoReformatter

from media.frames import Picture, Pixels, VideoFrame, reduced


def frame_time(frame: av.VideoFrame) -> float | None:
    """Media time of a frame in seconds; ``None`` when it has none."""
    if frame.pts is None or not frame.time_base:
        return None
    return float(frame.pts * frame.time_base)


def upright(pixels: Pixels, frame: av.VideoFrame) -> Pixels:
    """The pixels of a file's ``frame`` as they are to be shown: phones film sideways, and write beside it how to turn
    that (a display matrix: ISO/IEC 14496-12, 6.2.2), some of them mirrored. Turns by quarters only.
    """
    beside: Any = frame.side_data  # PyAV's stubs do not know this kind
    if Type.DISPLAYMATRIX not in beside:
        return pixels
    matrix = np.frombuffer(beside[Type.DISPLAYMATRIX], np.int32).astype(np.float64)
    across, down = matrix[0:2], matrix[3:5]
    """Where a step to the right, and one downwards, leads in the picture that is shown: right, down."""
    if across[0] * down[1] - across[1] * down[0] < 0:
        pixels, across = pixels[:, ::-1], -across
    quarters = -round(float(np.arctan2(across[1], across[0])) / (np.pi / 2))
    return np.ascontiguousarray(np.rot90(pixels, quarters))


def beginning(tracks: Iterable[Stream]) -> float:
    """When the first of a file's tracks begins, by the clock of the file: few begin at 0. Seconds."""
    begins = [float(one.start_time * one.time_base) for one in tracks if one.start_time is not None and one.time_base]
    return min(begins, default=0.0)


def problem(error: Exception, most_pixels: int) -> str:
    """Why a file cannot be decoded, where ``error`` is PyAV's and ``most_pixels`` the decoders' option."""
    if isinstance(error, av.ArgumentError):  # what FFmpeg says of pictures beyond it, among others
        return f"it is broken, or its pictures are too large: at most {most_pixels} pixels are decoded"
    return (error.strerror if isinstance(error, av.FFmpegError) else None) or "it is broken"


class Converter:
    """:class:`~media.frames.FrameConverter` of the frames that PyAV decodes and encodes.

    It keeps libswscale's tables: building them for every frame costs two to three times the conversion of a VGA frame.
    They have no threads of their own: by itself libswscale starts one for each processor, in each session.
    """

    def __init__(self) -> None:
        self._to_rgb = VideoReformatter()
        self._to_yuv = VideoReformatter()

    def picture(self, frame: VideoFrame, longest_side: int | None = None) -> Picture:
        """RGB, not larger than ``longest_side`` pixels; reducing and converting are one step."""
        native = _native(frame)
        width, height = reduced(native.width, native.height, longest_side)
        small = (width, height) != (native.width, native.height)
        way = Interpolation.AREA if small else None
        rgb = self._to_rgb.reformat(native, width, height, "rgb24", interpolation=way, threads=1)
        pixels = np.ascontiguousarray(rgb.to_ndarray(), np.uint8)
        return Picture(pixels, frame_time(native) or 0.0)

    def scaled(self, frame: VideoFrame, width: int, height: int) -> av.VideoFrame:
        """The frame at another size, ready to be encoded, with its timestamps."""
        native = _native(frame)
        result = self._to_yuv.reformat(native, width, height, "yuv420p", interpolation=Interpolation.AREA, threads=1)
        result.pts, result.time_base = native.pts, native.time_base
        return result

    def frame(self, pixels: Pixels, like: VideoFrame) -> av.VideoFrame:
        """Encode-ready yuv420p with the timestamps of ``like``; an odd row or column is cropped (codecs refuse them).

        ``pixels`` has two rows and columns at least. OpenCV does this in half the time of libswscale.
        """
        native = _native(like)
        even = np.ascontiguousarray(pixels[: pixels.shape[0] & ~1, : pixels.shape[1] & ~1])
        planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = native.pts, native.time_base
        return frame

    def is_encodable(self, frame: VideoFrame) -> bool:
        """Whether every encoder takes the frame as it is."""
        native = _native(frame)
        return native.width % 2 == 0 and native.height % 2 == 0 and native.format.name == "yuv420p"


def _native(frame: VideoFrame) -> av.VideoFrame:
    assert isinstance(frame, av.VideoFrame), "a frame of another source needs the converter of that source"
    return frame
