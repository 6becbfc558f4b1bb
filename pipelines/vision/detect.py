"""Looks at the newest picture of one session, as often as the machine can afford."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from media.clock import Clock
from media.frames import Picture
from pipelines.errors import EngineBusyError, VisionError
from pipelines.ports import Detection, VisionDetector, VisionTracker
from pipelines.worker import Worker

NextPicture = Callable[[], Awaitable[Picture]]
"""Waits for a picture newer than the last one."""
OnResult = Callable[[tuple[Detection, ...], Picture], None]
OnError = Callable[[VisionError], None]


class VisionStage:
    """The detectors of one session on a worker that sessions share.

    ``max_fps`` is the most pictures looked at per second. ``duty`` (0–1) is the largest share of the time that may be
    spent looking: waiting for the worker counts too, so that all sessions together keep to it and audio gets its turn.
    After ``patience`` failures in a row the stage gives up.
    """

    def __init__(
        self,
        detector: VisionDetector,
        worker: Worker,
        clock: Clock,
        *,
        max_fps: float = 15.0,
        duty: float = 0.5,
        patience: int = 5,
    ) -> None:
        self._detector = detector
        self._worker = worker
        self._clock = clock
        self._max_fps = max_fps
        self._duty = duty
        self._patience = patience

    async def run(self, next_picture: NextPicture, on_result: OnResult, on_error: OnError) -> None:
        """Look at pictures until cancelled, or until the detectors keep failing; then close them.

        Each error of a detector is told to ``on_error`` once, the first time it occurs. A tracker leaves out what
        failed, and what works goes on. What ``next_picture`` raises ends the stage and is raised here.
        """
        session = _Session(self._detector)
        reported: set[str] = set()
        failures = 0
        try:
            while failures < self._patience:
                began = self._clock.now()
                try:
                    if not session.is_open:  # takes long, once, and does not count as looking
                        await self._worker.run(session.open)
                    picture = await next_picture()
                    began = self._clock.now()
                    found = await self._worker.run(session.detect, picture)
                except VisionError as error:
                    failures += 1
                    if error.code not in reported:
                        reported.add(error.code)
                        on_error(error)
                except EngineBusyError as error:
                    if error.code == "engine_closed":
                        return
                else:
                    failures = 0
                    on_result(found, picture)
                await self._rest(began)
        finally:
            await self._close(session)

    async def _rest(self, began: float) -> None:
        now = self._clock.now()
        due = began + max(1 / self._max_fps, (now - began) / self._duty)
        await self._clock.sleep(due - now)

    async def _close(self, session: _Session) -> None:
        try:
            await asyncio.shield(self._worker.run(session.close))
        except EngineBusyError:  # no worker to do it: a few milliseconds here are better than detectors for ever
            session.close()


class _Session:
    """A tracker that is closed once, whatever is still under way on the worker when the stage is cancelled."""

    def __init__(self, detector: VisionDetector) -> None:
        self._detector = detector
        self._tracker: VisionTracker | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._tracker is not None

    def open(self) -> None:
        with self._lock:
            if not self._closed:
                self._tracker = self._detector.open()

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        with self._lock:
            return self._tracker.detect(picture) if self._tracker else ()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._tracker is not None:
                self._tracker.close()
                self._tracker = None
