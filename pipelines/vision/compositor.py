"""What is drawn onto the picture that goes back to the camera's owner: sized, thinned out, and composed on a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from media.clock import Clock
from media.frames import FrameConverter, Pixels, VideoFrame, reduced
from media.video_timing import FrameRate, RateMeter
from pipelines.errors import EngineBusyError, VisionError
from pipelines.interfaces.vision import Box, Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.background import Backdrop
from pipelines.vision.camera import Camera, Shot
from pipelines.vision.captions import Caption
from pipelines.vision.overlay import Readout, draw
from pipelines.vision.settings import LONGEST_RETURNED, VisionSettings

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_LONGEST_STEP = 0.25
"""Seconds that one step of the spring may take; after a longer pause it goes on from where it was."""


_ZOOM = 2.5
"""The crop is at most this many times smaller than the picture, for its pixels' sake."""
_ROOM = 3.0
"""Height of the crop in heights of a single face."""
_SETTLE_SECONDS = 0.35
"""Time constant of the movement: nine tenths of the way take about four of these."""
_START_ERROR = 0.06
"""How far off, in sizes of the crop, the crop has to be to start moving; it then moves until it is there."""
_HOLD_SECONDS = 2.0
"""After the last sight of anybody the crop waits this long before it widens to the whole picture."""


class AutoFrame:
    """The crop of one session."""

    def __init__(self) -> None:
        self._now = np.array([0.5, 0.5, 1.0])
        """Centre and size: width and height are the same fraction of the picture's."""
        self._speed = np.zeros(3)
        self._goal = self._now.copy()
        self._moving = False
        self._time: float | None = None
        self._seen: float | None = None

    def update(self, detections: Sequence[Detection], time: float) -> Box:
        """The crop for the picture at media time ``time``, with the newest detections; call it for every picture.

        x, y, width and height as fractions of the picture; always inside it and of its shape.
        """
        wanted = _wanted(detections)
        if wanted is not None:
            self._seen = time
        elif self._seen is not None and 0 <= time - self._seen < _HOLD_SECONDS:
            wanted = self._goal
        self._goal = np.array([0.5, 0.5, 1.0]) if wanted is None else wanted
        passed = 0.0 if self._time is None else min(max(0.0, time - self._time), _LONGEST_STEP)
        self._time = time
        self._move(passed)
        return self.crop

    @property
    def crop(self) -> Box:
        """The latest crop."""
        size = min(1.0, float(self._now[2]))
        x, y = (min(max(0.0, float(middle) - size / 2), 1.0 - size) for middle in self._now[:2])
        return x, y, size, size

    def _move(self, passed: float) -> None:
        error = float(np.abs(self._goal - self._now).max()) / float(self._goal[2])
        if not self._moving and error > _START_ERROR:
            self._moving = True
        if not self._moving:
            return
        rate = 1.0 / _SETTLE_SECONDS  # critically damped: exact over any step, so it cannot overshoot
        offset = self._now - self._goal
        pull = self._speed + rate * offset
        fade = math.exp(-rate * passed)
        self._now = self._goal + (offset + pull * passed) * fade
        self._speed = (self._speed - rate * pull * passed) * fade
        if error < _START_ERROR / 10 and float(np.abs(self._speed).max()) < _START_ERROR / 10:
            self._moving, self._speed = False, np.zeros(3)


def _wanted(detections: Sequence[Detection]) -> NDArray[np.float64] | None:
    """Centre and size that show everybody; ``None`` where nobody is."""
    boxes = [_room(found.box) for found in detections if found.kind == "face"]
    for kind in ("pose", "person", "hand"):
        boxes = boxes or [found.box for found in detections if found.kind == kind]
    if not boxes:
        return None
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    size = min(1.0, max(1.0 / _ZOOM, right - left, bottom - top))
    x, y = ((low + high) / 2 for low, high in ((left, right), (top, bottom)))
    inside = [min(max(middle, size / 2), 1.0 - size / 2) for middle in (x, y)]
    return np.array([*inside, size])


def _room(face: Box) -> Box:
    """A face with its surroundings: the eyes end up in the upper third."""
    x, y, width, height = face
    tall = _ROOM * height
    across = x + width / 2
    return across - tall / 2, y + height / 2 - 0.42 * tall, tall, tall


def cropped(pixels: Pixels, crop: Box, size: tuple[int, int]) -> Pixels:
    """The part of ``pixels`` (RGB) in ``crop``, scaled to ``size`` (width, height)."""
    height, width = pixels.shape[:2]
    if crop == _WHOLE and size == (width, height):
        return pixels
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    right = max(left + 1, min(width, round((crop[0] + crop[2]) * width)))
    bottom = max(top + 1, min(height, round((crop[1] + crop[3]) * height)))
    part = pixels[top:bottom, left:right]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def in_crop(detections: Sequence[Detection], crop: Box) -> tuple[Detection, ...]:
    """The same detections as fractions of the crop, so that they can be drawn onto it."""
    x, y, width, height = crop
    origin, size = np.array([x, y], np.float32), np.array([width, height], np.float32)
    return tuple(
        replace(
            found,
            box=(
                (found.box[0] - x) / width,
                (found.box[1] - y) / height,
                found.box[2] / width,
                found.box[3] / height,
            ),
            points=(found.points - origin) / size,
            trail=(found.trail - origin) / size,
            mask=None if found.mask is None else _mask_in(found.mask, crop),
        )
        for found in detections
    )


def _mask_in(mask: NDArray[np.uint8], crop: Box) -> NDArray[np.uint8]:
    rows, columns = mask.shape
    top, left = int(crop[1] * rows), int(crop[0] * columns)
    bottom, right = max(top + 1, math.ceil((crop[1] + crop[3]) * rows)), math.ceil((crop[0] + crop[2]) * columns)
    return mask[top:bottom, left : max(left + 1, right)]


LARGEST_SIDE = 1920
"""Pixels of a returned picture's longer side unless another size is asked for: encoding 4K takes a quarter second."""
SMALLEST_SIDE = 2
"""Pixels: 4:2:0 chroma has one sample for two by two, and H264 refuses odd sizes."""


class Compositor:
    """Makes the returned picture of one session out of the camera's shots.

    ``captions`` are the subtitles of the moment; ``failed`` is told of a picture that could not be made; ``film`` is
    what is shown instead of the camera, and what is written on it.
    """

    def __init__(
        self,
        camera: Camera,
        painter: Painter,
        clock: Clock,
        captions: Callable[[], Sequence[Caption]],
        failed: Callable[[VisionError], object],
        film: Callable[[], tuple[Pixels, str] | None] = lambda: None,
    ) -> None:
        self._film = film
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
            if (film := self._film()) is not None:
                return await self._painter.insert(shot, *film)
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

    async def insert(self, shot: Shot, pixels: Pixels, label: str) -> VideoFrame | None:
        """Another picture in the place and at the time of the shot's; ``None`` when there are enough already."""
        settings, frame = self._settings, shot.frame
        if not self._rate.takes(frame.time or 0.0, settings.frame_rate):
            return None
        size = returned_size(frame, settings.width, settings.height, LARGEST_SIDE)
        return await self._worker.run(lambda: self._converter.frame(labelled(_resized(pixels, *size), label), frame))

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


def labelled(pixels: Pixels, label: str) -> Pixels:
    """The picture with a border and ``label`` (ASCII) in a corner: nobody takes it for the camera's."""
    shown = pixels.copy()
    height, width = shown.shape[:2]
    cv2.rectangle(shown, (0, 0), (width - 1, height - 1), (255, 176, 32), max(2, height // 120))
    place, scale = (height // 40 + 4, height - height // 30 - 2), max(0.4, height / 720)
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(shown, label, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return shown


def returned_size(frame: VideoFrame, width: int | None, height: int | None, largest: int) -> tuple[int, int]:
    """What size to send a frame back at, even and encodable: the wanted one, or the frame's up to ``largest``.

    Of a wanted width the height follows, and the other way round; where that would be longer than any side may be, both
    are smaller: of a very narrow frame gigabytes would follow.
    """
    if width is not None and height is not None:
        wanted = width, height
    elif width is not None:
        wanted = reduced(width, round(frame.height * width / frame.width), LONGEST_RETURNED)
    elif height is not None:
        wanted = reduced(round(frame.width * height / frame.height), height, LONGEST_RETURNED)
    else:
        wanted = reduced(frame.width, frame.height, largest)
    return _even(wanted[0]), _even(wanted[1])


def _even(side: int) -> int:
    return max(SMALLEST_SIDE, side & ~1)
