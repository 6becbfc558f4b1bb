"""The picture that goes back to the camera's owner: sized, thinned out, and drawn upon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import av
import cv2
import numpy as np

from media.frames import Picture, Pixels
from media.video_convert import Converter, frame_time, is_encodable, returned_size, to_frame
from media.video_timing import FrameRate
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.auto_frame import AutoFrame, cropped, in_crop
from pipelines.vision.background import Backdrop
from pipelines.vision.captions import Caption
from pipelines.vision.overlay import Readout, draw
from pipelines.vision.settings import VisionSettings

LARGEST_SIDE = 1920
"""Pixels of a returned picture's longer side unless another size is asked for: encoding 4K takes a quarter second."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A camera frame on its way back."""

    frame: av.VideoFrame
    arrived: float
    """By the clock, in seconds."""
    found: tuple[Detection, ...] | None = None
    """What is in exactly this frame; ``None``: whatever was found last."""
    picture: Picture | None = None
    """The frame in RGB where that exists already; it is drawn upon."""


class Painter:
    """Makes the returned picture of one session, on a worker and only where there is something to do."""

    def __init__(self, worker: Worker, settings: VisionSettings) -> None:
        self._worker = worker
        self._settings = settings
        self._rate = FrameRate()
        self._converter = Converter()
        self._backdrop = Backdrop(settings.background)
        self._framing = AutoFrame()

    def apply(self, settings: VisionSettings) -> None:
        """Follow other settings from the next frame on."""
        if settings.background != self._settings.background:
            self._backdrop = Backdrop(settings.background)
        if settings.auto_frame != self._settings.auto_frame:
            self._framing = AutoFrame()
        self._settings = settings

    async def render(
        self, shot: Shot, captions: Sequence[Caption] = (), readout: Readout | None = None
    ) -> av.VideoFrame | None:
        """The picture to send; ``None`` when there are enough already.

        Raises ``EngineBusyError``, and :class:`~pipelines.errors.VisionError` once for a background that is no picture.
        """
        settings, frame = self._settings, shot.frame
        if not self._rate.takes(frame_time(frame) or 0.0, settings.frame_rate):
            return None
        width, height = returned_size(frame, settings.width, settings.height, LARGEST_SIDE)
        overlay = settings.overlay
        marked = shot.found if overlay.boxes or overlay.landmarks or overlay.labels else ()
        drawing = _Drawing(marked or (), captions if overlay.captions else (), readout if overlay.latency else None)
        if drawing or settings.auto_frame or settings.background.kind != "keep":
            return await self._worker.run(self._paint, shot, drawing, width, height)
        if (width, height) == (frame.width, frame.height) and is_encodable(frame):
            return frame
        return await self._worker.run(self._converter.scaled, frame, width, height)

    def _paint(self, shot: Shot, drawing: _Drawing, width: int, height: int) -> av.VideoFrame:
        picture = shot.picture or self._converter.picture(shot.frame)
        found, marked = shot.found or (), drawing.found
        if self._settings.auto_frame:
            crop = self._framing.update(found, picture.time)
            pixels = cropped(picture.pixels, crop, (width, height))
            found, marked = in_crop(found, crop), in_crop(marked, crop)
        else:
            pixels = _resized(picture.pixels, width, height)
        pixels = self._backdrop.paint(pixels, found)
        draw(pixels, marked, self._settings.overlay, drawing.captions, drawing.readout)
        return to_frame(pixels, shot.frame)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is to be drawn."""

    found: tuple[Detection, ...]
    captions: Sequence[Caption]
    readout: Readout | None

    def __bool__(self) -> bool:
        return bool(self.found or self.captions or self.readout)


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    smaller = pixels.shape[0] > height
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)
