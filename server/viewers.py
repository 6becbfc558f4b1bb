"""Who watches which session: admission, look-up, and the end of all viewers. Owns the task of every viewer."""

from __future__ import annotations

import asyncio
import logging

from media.aiortc_internals.ports import NoPortError
from media.clock import Clock
from server.descriptors import own_descriptors
from server.sessions import ServerFullError
from server.settings import Settings
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.viewer import Viewer, Watched

log = logging.getLogger(__name__)


class Viewers:
    """Those of all sessions of this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._viewers: dict[str, Viewer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._descriptors = own_descriptors()
        self._closing = False

    def __len__(self) -> int:
        return len(self._viewers)

    async def open(self, offer: Offer, watched: Watched) -> tuple[str, str]:
        """A viewer of this session: its id, and the SDP of its answer.

        Raises :class:`~server.sessions.ServerFullError`. The offer has been checked: any other exception is a defect.
        """
        if (what := self._why_full(watched.session_id)) is not None:
            raise ServerFullError(what, self._settings.max_viewers)
        viewer = Viewer(offer, watched, self._settings, self._clock)
        self._viewers[viewer.id] = viewer
        try:
            answer = await viewer.answer()
        except NoPortError as error:
            viewer.close("there was no UDP port for it")
            raise ServerFullError(str(error), self._settings.max_viewers) from error
        except BaseException:
            viewer.close("the offer was withdrawn, or could not be answered")
            raise
        finally:
            self._start(viewer)
        return viewer.id, answer

    def find(self, session_id: str, viewer_id: str) -> Viewer | None:
        """The viewer of that id, while it watches that session."""
        viewer = self._viewers.get(viewer_id)
        return viewer if viewer is not None and viewer.session_id == session_id and not viewer.has_ended else None

    async def close_all(self, timeout: float) -> None:
        """End them all; those not gone after ``timeout`` seconds are cut off."""
        self._closing = True
        for viewer in list(self._viewers.values()):
            viewer.close("the server is shutting down")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _why_full(self, session_id: str) -> str | None:
        if self._closing:
            return "the server is shutting down"
        most = self._settings.max_viewers
        if sum(viewer.session_id == session_id for viewer in self._viewers.values()) >= most:
            return f"the session has {most} viewers already"
        return "the server has no more file descriptors for viewers" if self._descriptors.all_taken else None

    def _start(self, viewer: Viewer) -> None:
        task = asyncio.create_task(viewer.run(), name=viewer.id)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._forget(viewer, done))

    def _forget(self, viewer: Viewer, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._viewers.pop(viewer.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("viewer %s failed", viewer.id, exc_info=error)
