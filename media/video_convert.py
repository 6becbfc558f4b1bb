"""PyAV's video frames ↔ RGB pictures. Blocking (a fraction of a millisecond at VGA): meant for a worker thread."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from media.frames import Picture, Pixels, VideoFrame, reduced


def frame_time(frame: av.VideoFrame) -> float | None:
    """Media time of a frame in seconds; ``None`` when it has none."""
    if frame.pts is None or not frame.time_base:
        return None
    return float(frame.pts * frame.time_base)


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
