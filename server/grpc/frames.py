"""Frames that clients send → pictures for detectors: whole ones, and access units of a film."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from media.frames import Picture, Pixels
from media.video_decoder import MOST_PIXELS, AccessUnits
from pipelines.errors import VisionError
from pipelines.runtime.worker import Worker
from pipelines.vision.camera import DETECTION_SIDE
from pipelines.vision.images import smaller, still
from server.grpc.generated import vision_pb2
from server.http.pipelines.arriving import InputError

_USUAL_STEP = 1 / 30
"""Seconds from one frame to the next where a client does not tell."""
_CODECS = {vision_pb2.FRAME_ENCODING_H264: "H264", vision_pb2.FRAME_ENCODING_VP8: "VP8"}
_STILLS = (vision_pb2.FRAME_ENCODING_JPEG, vision_pb2.FRAME_ENCODING_PNG)
_MOST_HELD = 64
"""Frames that a decoder may hold back; of more the numbers are forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture, and which frame it was."""

    number: int
    picture: Picture


@dataclass(slots=True)
class Frames:
    """The frames of one stream. Blocking: for a worker's thread."""

    _units: AccessUnits | None = None
    _encoding: int | None = None
    _count: int = 0
    _last: float | None = None
    _numbers: dict[float, int] = field(default_factory=dict)
    """Time in the stream, as decoders round it → number, of frames that may still be inside."""

    def take(self, frame: vision_pb2.Frame) -> list[Shown]:
        """The pictures that are complete with it. Raises :class:`InputError` naming the field."""
        number, time = self._count, self._time_of(frame)
        self._count, self._last = number + 1, time
        if frame.encoding not in _CODECS:
            return [Shown(number, Picture(_pixels(frame), time))]
        if self._units is None or self._encoding != frame.encoding:
            self._units, self._encoding = AccessUnits(_CODECS[frame.encoding], DETECTION_SIDE), frame.encoding
        self._numbers[round(time, 4)] = number
        while len(self._numbers) > _MOST_HELD:
            del self._numbers[next(iter(self._numbers))]
        try:
            return self._shown(self._units.decode(frame.data, time))
        except ValueError as error:
            raise _refused("data", str(error)) from error

    def finish(self) -> list[Shown]:
        """What a decoder still holds."""
        try:
            return self._shown(self._units.finish()) if self._units is not None else []
        except ValueError as error:
            raise _refused("data", str(error)) from error

    def _shown(self, pictures: list[Picture]) -> list[Shown]:
        return [Shown(self._numbers.pop(round(one.time, 4), self._count - 1), one) for one in pictures]

    def _time_of(self, frame: vision_pb2.Frame) -> float:
        before = self._last
        if not frame.HasField("time"):
            return 0.0 if before is None else before + _USUAL_STEP
        if not 0 <= frame.time < 1e9 or (before is not None and frame.time < before + 0.001):
            raise _refused("time", "must be seconds that increase from frame to frame, by 0.001 at least")
        return frame.time


async def shown(frames: AsyncIterator[vision_pb2.Frame], worker: Worker) -> AsyncGenerator[Shown, None]:
    """The pictures of a stream, in their order. Raises :class:`InputError`."""
    taken = Frames()
    async for frame in frames:
        for one in await worker.run(taken.take, frame):
            yield one
    for one in await worker.run(taken.finish):
        yield one


def _pixels(frame: vision_pb2.Frame) -> Pixels:
    if frame.encoding in _STILLS:
        try:
            return smaller(still(frame.data, "frame.data"), DETECTION_SIDE)
        except VisionError as error:
            raise InputError(400, error.code, error.message, "frame.data") from error
    if frame.encoding != vision_pb2.FRAME_ENCODING_RGB:
        raise _refused("encoding", f"legal values are {', '.join(vision_pb2.FrameEncoding.keys()[1:])}")
    width, height = frame.width, frame.height
    if min(width, height) < 1 or width * height > MOST_PIXELS:
        raise _refused("width", f"width and height must be 1 or more, and {MOST_PIXELS} pixels at most together")
    if len(frame.data) != width * height * 3:
        raise _refused("data", f"must have {width * height * 3} bytes for {width} x {height}, not {len(frame.data)}")
    return smaller(np.frombuffer(frame.data, np.uint8).reshape(height, width, 3), DETECTION_SIDE)


def _refused(field_name: str, message: str) -> InputError:
    return InputError(400, "invalid_value", f"frame.{field_name}: {message}", f"frame.{field_name}")
