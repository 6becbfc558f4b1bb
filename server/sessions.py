"""Who is connected: admission, look-up, and the end of all sessions. Owns the task of every session."""

from __future__ import annotations

import asyncio

from media.clock import Clock
from server.descriptors import own_descriptors
from server.engines.build import Engines
from server.observability.metrics import Metrics
from server.settings import Settings
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.session import Session


class ServerFullError(Exception):
    """No room for another session, now."""


class Registry:
    """The sessions of this process."""

    def __init__(self, engines: Engines, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._engines = engines
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._descriptors = own_descriptors()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def has_room(self) -> bool:
        """Whether another offer would be accepted."""
        return self._why_full() is None

    def _why_full(self) -> str | None:
        if self._closing:
            return "the server is shutting down"
        if len(self._sessions) >= self._settings.max_sessions:
            return f"all {self._settings.max_sessions} places are taken"
        return "the server has no more file descriptors for calls" if self._descriptors.all_taken else None

    async def open(self, offer: Offer) -> tuple[Session, str]:
        """A session for this offer and the SDP of its answer. Raises :class:`ServerFullError`.

        :func:`server.transports.webrtc.offers.read_offer` has refused what cannot be answered: any other exception is a
        defect of ours.
        """
        if (what := self._why_full()) is not None:
            raise ServerFullError(what)
        session = Session(offer, self._engines, self._settings, self._clock, self._metrics.observer())
        self._sessions[session.id] = session
        self._metrics.join(session)
        try:
            answer = await session.answer(offer)
        except asyncio.CancelledError:
            session.close("the offer was withdrawn")
            self._start(session)
            raise
        except BaseException:
            session.close("the offer could not be answered")
            self._start(session)
            raise
        self._start(session)
        return session, answer

    def tell_engines(self) -> None:
        """Let every client know which engines serve it now."""
        for session in self._sessions.values():
            session.tell_engines()

    async def close_all(self, timeout: float) -> None:
        """End every session politely; those not gone after ``timeout`` seconds are cut off."""
        self._closing = True
        for session in list(self._sessions.values()):
            session.close("the server is shutting down")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, session: Session) -> None:
        task = asyncio.create_task(session.run(), name=session.id)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._forget(session, done))

    def _forget(self, session: Session, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._sessions.pop(session.id, None)
        self._metrics.leave(session)
