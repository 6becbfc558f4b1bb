"""What is drawn onto the picture that goes back to the camera's owner: sized, thinned out, and composed on a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from media.clock import Clock
from media.frames import FrameConverter, Pixels, VideoFrame, reduced
from media.video_timing import FrameRate, RateMeter
from pipelines.errors import EngineBusyError, VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.auto_frame import AutoFrame, cropped, in_crop
from pipelines.vision.background import Backdrop
from pipelines.vision.camera import Camera, Shot
from pipelines.vision.captions import Caption
from pipelines.vision.overlay import Readout, draw
from pipelines.vision.settings import VisionSettings

LARGEST_SIDE = 1920
"""Pixels of a returned picture's longer side unless another size is asked for: encoding 4K takes a quarter second."""
SMALLEST_SIDE = 2
"""Pixels: 4:2:0 chroma has one sample for two by two, and H264 refuses odd sizes."""


class Compositor:
    """Makes the returned picture of one session out of the camera's shots.

    ``captions`` are the subtitles of the moment; ``failed`` is told of a picture that could not be made.
    """

    def __init__(
        self,
        camera: Camera,
        painter: Painter,
        clock: Clock,
        captions: Callable[[], Sequence[Caption]],
        failed: Callable[[VisionError], object],
    ) -> None:
        self._camera = camera
        self._painter = painter
        self._clock = clock
        self._captions = captions
        self._failed = failed
        self._delay: float | None = None
        self._returned = RateMeter()
        self._voice_to_voice: float | None = None

    def apply(self, settings: VisionSettings) -> None:
        """Follow other settings from the next frame on."""
        self._painter.apply(settings)

    def answered(self, voice_to_voice: float) -> None:
        """A turn has been answered after so many seconds, for the read-out."""
        self._voice_to_voice = voice_to_voice

    async def render(self, shot: Shot) -> VideoFrame | None:
        """What is sent back for ``shot``: as it came when nothing is to be drawn or changed; ``None`` to skip it."""
        camera = self._camera
        if shot.found is None:
            shot = replace(shot, found=camera.found if camera.is_fresh(shot.frame) else ())
        readout = Readout(self._returned.rate, self._delay, camera.age(shot.frame), self._voice_to_voice)
        try:
            frame = await self._painter.render(shot, self._captions(), readout)
        except EngineBusyError:
            return None
        except VisionError as error:
            self._failed(error)
            return None
        if frame is not None:
            now = self._clock.now()
            self._delay = now - shot.arrived
            self._returned.tick(now)
        return frame


class Painter:
    """Makes the returned picture of one session, on a worker and only where there is something to do."""

    def __init__(self, worker: Worker, converter: FrameConverter, settings: VisionSettings) -> None:
        self._worker = worker
        self._settings = settings
        self._rate = FrameRate()
        self._converter = converter
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
    ) -> VideoFrame | None:
        """The picture to send; ``None`` when there are enough already.

        Raises ``EngineBusyError``, and :class:`~pipelines.errors.VisionError` once for a background that is no picture.
        """
        settings, frame = self._settings, shot.frame
        if not self._rate.takes(frame.time or 0.0, settings.frame_rate):
            return None
        width, height = returned_size(frame, settings.width, settings.height, LARGEST_SIDE)
        overlay = settings.overlay
        marked = shot.found if overlay.boxes or overlay.landmarks or overlay.labels else ()
        drawing = _Drawing(marked or (), captions if overlay.captions else (), readout if overlay.latency else None)
        if drawing or settings.auto_frame or settings.background.kind != "keep":
            return await self._worker.run(self._paint, shot, drawing, width, height)
        if (width, height) == (frame.width, frame.height) and self._converter.is_encodable(frame):
            return frame
        return await self._worker.run(self._converter.scaled, frame, width, height)

    def _paint(self, shot: Shot, drawing: _Drawing, width: int, height: int) -> VideoFrame:
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
        return self._converter.frame(pixels, shot.frame)


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


def returned_size(frame: VideoFrame, width: int | None, height: int | None, largest: int) -> tuple[int, int]:
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
