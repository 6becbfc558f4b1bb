"""The camera of one session: the newest frame is looked at, and what was found is drawn onto the newest frame."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import av

from media.channel import Channel, ChannelClosedError
from media.clock import Clock
from media.frames import Picture
from media.picture import can_be_drawn, is_even, to_frame, to_picture
from pipelines.errors import EngineBusyError
from pipelines.ports import Detection
from pipelines.vision.detect import VisionStage
from pipelines.vision.events import SceneChanged
from pipelines.vision.overlay import draw
from pipelines.vision.scene import SceneTracker
from pipelines.voice.events import Problem
from server.engines import Engines

STALE_SECONDS = 0.6
"""Detections older than this are not drawn: the overlay would hang in the air."""


class Watching:
    """Joins the camera to the vision stage. Without a vision engine the camera passes through untouched."""

    def __init__(self, engines: Engines, clock: Clock, tell: Callable[[SceneChanged | Problem], None]) -> None:
        self.scene = ""
        """What the camera shows, in words; empty until something has been seen."""
        self._engines = engines
        self._clock = clock
        self._tell = tell
        self._tracker = SceneTracker()
        self._found: tuple[Detection, ...] = ()
        self._found_at = 0.0

    async def run(self, frames: Channel[av.VideoFrame]) -> None:
        """Look at frames until the camera ends."""
        detector = self._engines.vision
        if detector is None:
            return

        async def next_picture() -> Picture:
            while True:
                frame = await frames.get()
                if can_be_drawn(frame):
                    return await self._engines.vision_worker.run(to_picture, frame)

        stage = VisionStage(detector, self._engines.vision_worker, self._clock, max_fps=self._engines.vision_fps)
        with suppress(ChannelClosedError):  # the camera's track has ended
            await stage.run(next_picture, self._take, lambda error: self._tell(Problem(error)))

    async def render(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame with the latest detections drawn on it; as it is when there are none or vision is overloaded."""
        fresh = self._found and self._clock.now() - self._found_at <= STALE_SECONDS
        if not can_be_drawn(frame) or (not fresh and is_even(frame)):
            return frame
        try:
            return await self._engines.drawing_worker.run(_annotate, frame, self._found if fresh else ())
        except EngineBusyError:
            return frame

    def _take(self, detections: tuple[Detection, ...], picture: Picture) -> None:
        self._found, self._found_at = detections, self._clock.now()
        changed = self._tracker.update(detections, picture.time)
        if changed is not None:
            self.scene = changed.scene
            self._tell(changed)


def _annotate(frame: av.VideoFrame, detections: tuple[Detection, ...]) -> av.VideoFrame:
    picture = to_picture(frame)
    draw(picture.pixels, detections)
    return to_frame(picture.pixels, frame)
