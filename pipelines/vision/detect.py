"""Runs the detectors on the newest picture of one session, as often as the machine can afford."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from media.clock import Clock
from media.frames import Picture
from pipelines.errors import EngineBusyError, EngineStuckError, VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.settings import DetectorName, TemplateImage, VisionSettings
from pipelines.vision.tracker_pool import LentTracker, TrackerPool

LATE_SECONDS = 0.04
"""A task that wakes this late shares the processor with too much else: audio would suffer next."""
EXACT_DUTY = 0.9
GIVING_WAY = 2.5
"""By how much detections are rarer while somebody speaks or waits for an answer, but"""
GIVEN_WAY_SECONDS = 0.2
"""are no further apart than this for that."""
_BACK_OFF, _RECOVER = 1.2, 0.95
_MOST_STRAIN = 3.0


class Pace:
    """The time between two detections of one session.

    ``duty`` (0–1) is the largest share of the time that detection may take; time spent waiting for the worker counts,
    so that all sessions together keep to it. When the machine is overloaded, they become rarer at once and slowly more
    frequent again afterwards (multiplicative both ways, like congestion control).
    """

    def __init__(self, duty: float = 0.5) -> None:
        self.strain = 1.0
        """By how much detections are rarer than they would be on an idle machine."""
        self._duty = duty

    def interval(self, spent: float, max_fps: float, *, exact: bool = False, gives_way: bool = False) -> float:
        """Seconds from the begin of one detection, which took ``spent``, to the next.

        With ``exact`` the video itself waits for detections: they get nearly all the time. ``gives_way``: to a voice.
        """
        usual = max(1 / max_fps, spent / (EXACT_DUTY if exact else self._duty)) * self.strain
        return max(usual, min(usual * GIVING_WAY, GIVEN_WAY_SECONDS)) if gives_way else usual

    def woke(self, late: float) -> None:
        """Take how many seconds after its time the last rest ended."""
        if late > LATE_SECONDS:
            self.strain = min(_MOST_STRAIN, self.strain * _BACK_OFF)
        else:
            self.strain = max(1.0, self.strain * _RECOVER)


LIMIT_SECONDS = 0.35
"""An overlay older than this visibly trails a moving hand."""
HOLD_SECONDS = 1.0
"""How long it must last to be told: one slow picture is no news."""


@dataclass(frozen=True, slots=True)
class VisionFellBehind:
    """The overlay trails the camera. The video itself stays live."""

    lag: float
    """Seconds between the newest frame and the picture that the overlay belongs to."""
    time: float
    """Media time in seconds."""


@dataclass(frozen=True, slots=True)
class VisionCaughtUp:
    """The overlay is close to the camera again."""

    lag: float
    time: float


@dataclass(frozen=True, slots=True)
class CameraStopped:
    """No frame has come for a while: switched off, frozen, or cut off. What was seen no longer counts."""

    time: float


@dataclass(frozen=True, slots=True)
class CameraStarted:
    """Frames come, for the first time or again."""

    time: float
    width: int
    height: int


VideoEvent = VisionFellBehind | VisionCaughtUp | CameraStopped | CameraStarted


class LagWatch:
    """Given the lag of every frame, says when it has become too large and when it is small again.

    The limit grows with the time between two pictures (``1 / max_fps``), which is lag that was asked for.
    """

    def __init__(self, limit: float = LIMIT_SECONDS) -> None:
        self.behind = False
        """Whether vision trails now."""
        self._limit = limit
        self._since: float | None = None
        """Since when it has been otherwise than ``behind`` says."""

    def update(self, lag: float, time: float, max_fps: float) -> VisionFellBehind | VisionCaughtUp | None:
        """Take the lag of the frame at media time ``time``; both in seconds."""
        limit = self._limit + 1 / max_fps
        otherwise = lag < 0.7 * limit if self.behind else lag > limit
        if not otherwise:
            self._since = None
            return None
        if self._since is None or time < self._since:
            self._since = time
        if time - self._since < HOLD_SECONDS:
            return None
        self._since, self.behind = None, not self.behind
        return VisionFellBehind(lag, time) if self.behind else VisionCaughtUp(lag, time)


REST_SECONDS = 0.05
"""How soon detections begin again once they may."""

NextPicture = Callable[[], Awaitable[Picture]]
"""Waits for a picture newer than the last one."""
OnResult = Callable[[tuple[Detection, ...], Picture], None]
OnError = Callable[[VisionError], None]


class VisionStage:
    """The detectors of one session on a worker that sessions share.

    What is looked for, and how often at most, follows the settings while it runs. After ``patience`` failures in a row
    the stage gives up until it is asked for other detectors.
    """

    def __init__(
        self,
        trackers: TrackerPool,
        worker: Worker,
        clock: Clock,
        settings: VisionSettings,
        *,
        pace: Pace | None = None,
        patience: int = 5,
    ) -> None:
        self.looked = 0
        """Pictures seen so far."""
        self.seconds = 0.0
        """Spent with that, waiting for the worker included."""
        self.left_out = 0.0
        """Pictures that would have been seen, were detections not rarer for a machine that has too much to do."""
        self._rarer = 1.0
        self._gives_way_until = self._rests_until = 0.0
        """By the clock."""
        self._trackers = trackers
        self._session = Looker(trackers)
        self._worker = worker
        self._clock = clock
        self._settings = settings
        self._pace = pace or Pace()
        self._patience = patience
        self._failures = 0
        self._changed = asyncio.Event()
        self._reported: set[str] = set()

    def apply(self, settings: VisionSettings) -> None:
        """Follow other settings, from the next picture on."""
        if settings.needed != self._settings.needed or settings.enabled != self._settings.enabled:
            self._failures = 0
            self._reported.clear()
        self._settings = settings
        self._changed.set()

    def give_way(self, until: float) -> None:
        """Detect more rarely up to that time of the clock: somebody speaks or waits for an answer."""
        self._gives_way_until = until

    def rest(self, until: float) -> None:
        """Begin no new detection up to that time of the clock, or to that of a later call: an answer is being made."""
        self._rests_until = until

    def ease(self, rarer: float) -> None:
        """Detect so many times more rarely (1: as usual), from the next picture on."""
        self._rarer = rarer

    def reselect(self) -> None:
        """Select the detectors again before the next picture: there may be more of them now."""
        self._session.detectors = None

    @property
    def looking(self) -> bool:
        """Whether results are to be expected: detectors are wanted, open, and have not failed for good."""
        return self._wanted and self._session.is_open

    @property
    def _wanted(self) -> bool:
        settings = self._settings
        return settings.enabled and bool(settings.needed or settings.templates) and self._failures < self._patience

    async def run(self, next_picture: NextPicture, on_result: OnResult, on_error: OnError) -> None:
        """Detect in pictures until cancelled, or until the worker has closed; then give the tracker back.

        Each error of a detector is told to ``on_error`` once, the first time it occurs. A tracker leaves out what
        failed, and what works goes on. What ``next_picture`` raises ends the stage and is raised here, as is what
        nobody thought of; then it may be run again.
        """
        self._session = Looker(self._trackers)  # that of a run before is closed, and stays so
        try:
            while True:
                if self._wanted:
                    await self._detect(next_picture, on_result, on_error)
                else:
                    self._changed.clear()
                    if await self._suspended():
                        await self._changed.wait()
        except EngineBusyError:  # the worker has closed
            return
        finally:
            await self._session.close_on(self._worker)

    async def _suspended(self) -> bool:
        """Give the tracker back; whether the worker had room for that."""
        try:
            await self._worker.run(self._session.suspend)
        except EngineBusyError as error:
            if error.code == "engine_closed":
                raise
            await self._clock.sleep(REST_SECONDS)
            return False
        return True

    async def _detect(self, next_picture: NextPicture, on_result: OnResult, on_error: OnError) -> None:
        began = self._clock.now()
        try:
            if not self._session.is_set(self._settings):  # takes long, and does not count as detecting
                await self._worker.run(self._session.set, self._settings)
            picture = await next_picture()
            began = self._clock.now()
            found = await self._worker.run(self._session.detect, picture)
        except VisionError as error:
            self._failures += 1
            if error.code not in self._reported:
                self._reported.add(error.code)
                on_error(error)
        except EngineBusyError as error:
            if error.code == "engine_closed":
                raise
        else:
            self._failures = 0
            self.looked += 1
            self.left_out += self._rarer - 1.0
            self.seconds += self._clock.now() - began
            if self._settings.enabled:
                on_result(found, picture)
        await self._rest(began)

    async def _rest(self, began: float) -> None:
        now = self._clock.now()
        settings = self._settings
        gives_way = now < self._gives_way_until and self._may_wait
        exact = settings.mode == "exact"
        interval = self._pace.interval(now - began, settings.max_fps, exact=exact, gives_way=gives_way)
        due = began + interval * self._rarer
        await self._clock.sleep(due - now)
        self._pace.woke(self._clock.now() - max(due, now))
        while self._may_wait and (left := self._rests_until - self._clock.now()) > 0:
            await self._clock.sleep(min(left, REST_SECONDS))

    @property
    def _may_wait(self) -> bool:
        """Whether detections may come late: not where the video waits for them, nor where turn-taking uses them."""
        looks = self._settings.looks
        return self._settings.mode != "exact" and not (looks.lips or looks.look_to_talk or looks.gestures)


AGAIN_SECONDS = 0.1
"""After so long a tracker is given back that could not be while the worker had too much to do."""


class Looker:
    """One session's tracker, which is given back once, whatever is still under way on the worker when that ends.

    Blocking but for :meth:`close_on`: call it on a worker.
    """

    def __init__(self, trackers: TrackerPool) -> None:
        self.detectors: tuple[DetectorName, ...] | None = None
        """What the open tracker looks for; ``None``: it has to be told."""
        self._templates: tuple[TemplateImage, ...] = ()
        self._trackers = trackers
        self._tracker: LentTracker | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a tracker."""
        return self._tracker is not None

    def is_set(self, settings: VisionSettings) -> bool:
        """Whether it looks for what ``settings`` say."""
        return self.detectors == settings.needed and self._templates == settings.templates

    def set(self, settings: VisionSettings) -> None:
        """Look for what ``settings`` say. Raises :class:`VisionError`."""
        with self._used():
            if self._closed:
                return
            if self._tracker is None:
                self._tracker = self._trackers.open(settings.needed)
            if self.detectors != settings.needed:
                self.detectors = settings.needed  # even if one of them fails: those that can be opened are open
                self._tracker.select(settings.needed)
            if self._templates != settings.templates:
                self._templates = settings.templates
                self._tracker.look_for(settings.templates)

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found. Raises :class:`VisionError`."""
        with self._used():
            return self._tracker.detect(picture) if self._tracker else ()

    def suspend(self) -> None:
        """Give the tracker back; the next :meth:`set` gets another."""
        with self._lock:
            self._give_back()

    def close(self) -> None:
        """Give the tracker back for good."""
        self._closed = True
        self.suspend()

    def close_soon(self) -> None:
        """The same without waiting for what is under way on the worker: that gives the tracker back when it ends."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._give_back()
            finally:
                self._lock.release()

    async def close_on(self, worker: Worker) -> None:
        """Give the tracker back for good on a worker, also for a task that is being cancelled."""
        await asyncio.shield(asyncio.ensure_future(self._closed_on(worker)))

    async def _closed_on(self, worker: Worker) -> None:
        try:
            while True:
                if await self._closes(worker):
                    return
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self.close_soon()  # no worker to do it: a few milliseconds here are better than detectors for ever

    async def _closes(self, worker: Worker) -> bool:
        """Whether the worker has closed it, or never will."""
        try:
            await worker.run(self.close)
        except EngineStuckError:
            return True
        except EngineBusyError as error:
            return error.code == "engine_closed"
        return True

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        finally:
            if self._closed:  # meanwhile, by somebody who did not wait
                self.suspend()

    def _give_back(self) -> None:
        tracker, self._tracker = self._tracker, None
        self.detectors, self._templates = None, ()
        if tracker is not None:
            tracker.close()
