"""The camera of one session: detectors see the newest frame, and it is offered to be sent back with what they found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from media.channel import Channel, ChannelClosedError
from media.clock import Clock
from media.frames import FrameConverter, Picture, VideoFrame
from pipelines.errors import PipelineError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.supervision import Supervisor
from pipelines.runtime.worker import Worker
from pipelines.vision.detect import CameraStarted, CameraStopped, LagWatch, VideoEvent, VisionStage
from pipelines.vision.events import SceneChanged, VisionEvent
from pipelines.vision.scene import SceneEvents
from pipelines.vision.settings import DetectorName, VisionSettings
from pipelines.vision.tracker_pool import TrackerPool

DETECTION_SIDE = 640
"""Pixels of a picture's longer side as detectors get it; their networks see 128 to 256."""
STALE_SECONDS = 1.0
"""Detections older than this are not drawn: the overlay would hang in the air."""
STOPPED_SECONDS = 3.0
"""Without a frame, after which the camera counts as stopped; a switched-off one sends black at one frame a second."""
STANDING_BACK_SECONDS = 0.09
"""Between two pictures that go back while an answer is being made: every third of thirty frames a second."""
EASED_SECONDS = 0.03
"""The same, times how much rarer detections are: with twice as few, every second of thirty frames a second."""
STUCK_SECONDS = 2.0
"""A detection that takes longer than this does not hold the video up any more, not even in ``exact`` mode."""


class VisionEngines(Protocol):
    """What vision shares between sessions."""

    @property
    def trackers(self) -> TrackerPool | None:
        """Where sessions get their trackers; ``None`` without a vision engine."""
        ...

    @property
    def vision_worker(self) -> Worker:
        """Threads that run detectors."""
        ...

    @property
    def drawing_worker(self) -> Worker:
        """Threads that draw; apart from the lookers so that the video stays live while they are busy."""
        ...

    @property
    def unavailable_detectors(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used now; those not named here can."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A camera frame on its way back."""

    frame: VideoFrame
    arrived: float
    """By the clock, in seconds."""
    found: tuple[Detection, ...] | None = None
    """What is in exactly this frame; ``None``: whatever was found last."""
    picture: Picture | None = None
    """The frame in RGB where that exists already; it is drawn upon."""


@dataclass(slots=True)
class LagCount:
    """How far the overlay was behind the camera, over all frames."""

    frames: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told what the camera shows."""

    emit: Callable[[VisionEvent | VideoEvent], object]
    """Is given what has happened before the camera, and to it."""
    failed: Callable[[PipelineError], None]
    """Is given what the detectors failed at."""
    looked: Callable[[tuple[Detection, ...], Picture], object] = lambda found, picture: None
    """Is given what was found in each picture; what it raises is contained."""


class Camera:
    """Joins the camera to the vision stage and to the picture that goes back.

    In ``live`` mode every frame is offered for sending and, apart from that, to the detectors; in ``exact`` mode it is
    offered for sending when they have seen it. Both offers are slots that hold the newest: nothing queues. Without a
    vision engine the camera passes through untouched.
    """

    def __init__(
        self,
        engines: VisionEngines,
        converter: FrameConverter,
        clock: Clock,
        settings: VisionSettings,
        watchers: Watchers,
        optional: Supervisor,
    ) -> None:
        self.scene = ""
        """What the camera shows, in words; empty until something has been seen, and when the camera stops."""
        self.found: tuple[Detection, ...] = ()
        """The latest detections."""
        self.lag = LagCount()
        self.returns: Channel[Shot] = Channel(1)
        """What to send back next."""
        self._worker = engines.vision_worker
        self._converter = converter
        self._clock = clock
        self._watchers = watchers
        self._tell = watchers.emit
        self._optional = optional
        self._settings = settings
        self._scene_events = SceneEvents()
        self._watch = LagWatch()
        self._to_detect: Channel[VideoFrame] = Channel(1)
        self._detecting_in: VideoFrame | None = None
        self._detecting_since = 0.0
        self._seen: float | None = None
        """Media time of the picture that the latest detections belong to."""
        self._camera: tuple[int, int] | None = None
        """Size of the frames while they come."""
        self._arrived = 0.0
        self._put_back = 0.0
        """When the latest frame was put on its way back."""
        self._stands_back_until = 0.0
        self._rarer = 1.0
        trackers = engines.trackers
        self._stage = None if trackers is None else VisionStage(trackers, engines.vision_worker, clock, settings)

    # ------------------------------------------------------------------------------------------------ settings

    def apply(self, settings: VisionSettings) -> None:
        """Follow other settings from the next frame on."""
        if not settings.enabled or settings.needed != self._settings.needed:
            self._forget()
        self._settings = settings
        if self._stage is not None:
            self._stage.apply(settings)

    def give_way(self, seconds: float) -> None:
        """Leave the processor to those who listen and answer for so long from now."""
        if self._stage is not None:
            self._stage.give_way(self._clock.now() + seconds)

    def stand_back(self, seconds: float) -> None:
        """Leave it to them altogether for so long from now, or until called again: an answer is being made.

        No detection begins, unless the video waits for it (``exact``) or visual cues take part in the conversation; and
        fewer pictures go back.
        """
        self._stands_back_until = self._clock.now() + seconds
        if self._stage is not None:
            self._stage.rest(self._stands_back_until)

    def ease(self, rarer: float) -> None:
        """The machine has too much to do: so many times fewer detections, and pictures that go back (1: as usual)."""
        self._rarer = rarer
        if self._stage is not None:
            self._stage.ease(rarer)

    def reselect(self) -> None:
        """Use detectors that were asked for and have become available since."""
        if self._stage is not None:
            self._stage.reselect()

    @property
    def is_behind(self) -> bool:
        """Whether the overlay trails the camera now."""
        return self._watch.behind

    @property
    def left_out(self) -> float:
        """Pictures that detectors have not seen because the machine had too much to do."""
        return self._stage.left_out if self._stage is not None else 0.0

    @property
    def looked(self) -> tuple[int, float]:
        """Pictures that detectors have seen so far, and the seconds it took."""
        return (self._stage.looked, self._stage.seconds) if self._stage is not None else (0, 0.0)

    # ------------------------------------------------------------------------------------------------ frames in

    async def run(self, frames: Channel[VideoFrame]) -> None:
        """Watch until the camera's track ends. May be run again when it fails."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._optional.keep("noticing a camera that stops", self._notice_stops))]
            if (stage := self._stage) is not None:
                tasks.append(group.create_task(self._optional.keep("vision", lambda: self._detect(stage))))
            async for frame in frames:
                self._optional.call("the camera", self._take, frame)
            self.returns.close()
            for task in tasks:
                task.cancel()

    def _take(self, frame: VideoFrame) -> None:
        time = frame.time or 0.0
        self._arrived = self._clock.now()
        if self._camera != (frame.width, frame.height):
            self._camera = frame.width, frame.height
            self._tell(CameraStarted(time, frame.width, frame.height))
        if not self._is_exact() and not self._leaves_out():
            self.returns.put(Shot(frame, self._arrived))
            self._put_back = self._arrived
        if self._stage is None:
            return
        self._to_detect.put(frame)
        if self._stage.looking and self._seen is not None:
            self.lag.frames += 1
            self.lag.seconds += max(0.0, time - self._seen)
            event = self._watch.update(time - self._seen, time, self._settings.max_fps / self._rarer)
            if event is not None:
                self._tell(event)

    def _leaves_out(self) -> bool:
        """Whether the newest frame does not go back: one went back just now, and an answer is being made, or there is
        too much to do."""
        apart = EASED_SECONDS * self._rarer if self._rarer > 1.0 else 0.0
        if self._arrived < self._stands_back_until:
            apart = max(apart, STANDING_BACK_SECONDS)
        return self._arrived - self._put_back < apart

    def _is_exact(self) -> bool:
        """Whether frames wait for what is found in them. They do not for detectors that are closed, broken or stuck."""
        if self._settings.mode != "exact" or self._stage is None or not self._stage.looking:
            return False
        return self._detecting_in is None or self._clock.now() - self._detecting_since < STUCK_SECONDS

    async def _notice_stops(self) -> None:
        while True:
            await self._clock.sleep(STOPPED_SECONDS / 3)
            if self._camera is not None and self._clock.now() - self._arrived >= STOPPED_SECONDS:
                self._camera = None
                self._forget()
                self._tell(CameraStopped(self._clock.now()))

    def _forget(self) -> None:
        """What was seen no longer counts."""
        self.scene, self.found, self._seen = "", (), None
        for event in self._scene_events.end():
            self._tell(event)
        self._scene_events = SceneEvents()

    # ------------------------------------------------------------------------------------------------ detection

    async def _detect(self, stage: VisionStage) -> None:
        with suppress(ChannelClosedError):
            await stage.run(self._next_picture, self._result, self._watchers.failed)

    async def _next_picture(self) -> Picture:
        frame = self._detecting_in = await self._to_detect.get()
        self._detecting_since = self._clock.now()
        exact = self._settings.mode == "exact"  # then the same pixels are drawn upon
        return await self._worker.run(self._converter.picture, frame, None if exact else DETECTION_SIDE)

    def _result(self, found: tuple[Detection, ...], picture: Picture) -> None:
        frame, self._detecting_in = self._detecting_in, None
        if self._camera is None:  # it stopped meanwhile
            return
        self.found, self._seen = found, picture.time
        for event in self._scene_events.update(found, picture.time):
            if isinstance(event, SceneChanged):
                self.scene = event.scene
            self._tell(event)
        self._optional.call("gestures and looks", self._watchers.looked, found, picture)
        if self._settings.mode == "exact" and frame is not None:
            self.returns.put(Shot(frame, self._detecting_since, found, picture))

    # ------------------------------------------------------------------------------------------------ drawing

    def age(self, frame: VideoFrame) -> float | None:
        """How much older than ``frame`` the picture is that detectors saw last, in seconds; ``None`` without one."""
        return None if self._seen is None else (frame.time or 0.0) - self._seen

    def is_fresh(self, frame: VideoFrame) -> bool:
        """Whether the latest detections may be drawn onto ``frame``."""
        age = self.age(frame)
        return age is not None and abs(age) <= max(STALE_SECONDS, 3 * self._rarer / self._settings.max_fps)
