"""Video frames ↔ RGB pictures. Blocking (a fraction of a millisecond at VGA): meant for a worker thread."""

from __future__ import annotations

import av
import cv2
import numpy as np

from media.frames import Picture, Pixels


def frame_time(frame: av.VideoFrame) -> float:
    """Media time of a frame in seconds; 0 when its timestamp is broken."""
    if frame.pts is None or not frame.time_base:
        return 0.0
    return float(frame.pts * frame.time_base)


def to_picture(frame: av.VideoFrame) -> Picture:
    """Decode to RGB. OpenCV's conversion is five times faster than building an swscale context per frame."""
    if frame.format.name == "yuv420p" and frame.width % 2 == 0 and frame.height % 2 == 0:
        pixels = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
    else:
        pixels = frame.to_ndarray(format="rgb24")
    return Picture(np.asarray(pixels, np.uint8), frame_time(frame))


def to_frame(pixels: Pixels, like: av.VideoFrame) -> av.VideoFrame:
    """Encode-ready yuv420p with the timestamps of ``like``; an odd row or column is cropped (codecs refuse them)."""
    even = np.ascontiguousarray(pixels[: pixels.shape[0] & ~1, : pixels.shape[1] & ~1])
    planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def is_even(frame: av.VideoFrame) -> bool:
    """Whether every encoder takes the frame as it is."""
    return frame.width % 2 == 0 and frame.height % 2 == 0


def can_be_drawn(frame: av.VideoFrame) -> bool:
    """Frames under 2x2 pixels have no even crop."""
    return frame.width >= 2 and frame.height >= 2
