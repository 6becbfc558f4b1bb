"""A session whose client is at the other end of a WebSocket, and clients that look on over one of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSCloseCode
from aiohttp.web import WebSocketResponse

from media.clock import Clock
from pipelines.assistant.events import Event as SessionEvent
from pipelines.assistant.session import AssistantSession
from pipelines.runtime import worker
from pipelines.voice.events import SpeechStopped, TranscriptFailed, UserTurn
from server.transports.interface import Event, SessionCounts, SoundingDialect, VisitingDialect
from server.transports.websocket.event_socket import EventSocket
from server.transports.websocket.microphone import Microphone
from server.transports.websocket.voice import SocketVoice

log = logging.getLogger(__name__)

MOST_UNWRITTEN = 4
"""Turns that are over and not written down yet, with which no more is heard: half of those for which there is room."""


@dataclass(frozen=True, slots=True)
class SocketDocked:
    """What a WebSocket is docked onto, and with what."""

    session: AssistantSession
    voice: SocketVoice
    """Where the session's voice sounds."""
    speaks: Callable[[Callable[[Event], None], Microphone], SoundingDialect]
    """Makes the dialect, given where its events and its sound go."""


class Unwritten:
    """How many turns are over whose words are not known yet. Pure: told of all events of a session."""

    def __init__(self) -> None:
        self.turns = 0

    def take(self, event: SessionEvent) -> None:
        """The next event."""
        match event:
            case SpeechStopped():
                self.turns += 1
            case UserTurn(spoken=True) | TranscriptFailed():
                self.turns -= 1


class SocketSession:
    """Lives from its admission to :meth:`close`; :meth:`run` owns every task in between."""

    def __init__(self, docked: SocketDocked, clock: Clock) -> None:
        self.session = session = docked.session
        self._voice = docked.voice
        unwritten = Unwritten()
        session.events.attach("turns to be written down", unwritten.take)
        self._microphone = microphone = Microphone(clock, lambda: unwritten.turns >= MOST_UNWRITTEN)
        self._events = EventSocket(f"session {self.id}", lambda send: docked.speaks(send, microphone))

    @property
    def id(self) -> str:
        """The session's."""
        return self.session.id

    @property
    def ended_because(self) -> str:
        """Why the session ended; empty while it lives."""
        return self._events.ended_because

    async def run(self, socket: WebSocketResponse) -> None:
        """Serve the client until it is gone, or :meth:`close` is called."""
        session, events, microphone = self.session, self._events, self._microphone
        worker.session.set(self.id)
        log.info("session %s connected", self.id)
        work = {
            "telling": session.optional.keep("the client's events", events.dialect.run),
            "microphone": microphone.run(events.around),
            "voice": self._voice.run(events.dialect, events.outbox.room),
            "session": session.run(microphone.chunks),
        }
        await events.serve(socket, work, session.running, microphone.room)

    def close(self, reason: str, code: WSCloseCode = WSCloseCode.OK) -> None:
        """End the session; :meth:`run` returns soon after. Idempotent."""
        self._events.end(reason, code)

    def counts(self) -> SessionCounts:
        """What the parts of the session have counted so far."""
        return SessionCounts(events_dropped=self._events.dropped + self.session.events.dropped)

    @property
    def is_behind(self) -> bool:
        """Whether vision trails the camera: there is none."""
        return False


class Sideband:
    """Another client of a session that goes on without it: it sees all events, and has a say. No sound."""

    def __init__(self, session: AssistantSession, speaks: Callable[[Callable[[Event], None]], VisitingDialect]) -> None:
        self._session = session
        self._events = EventSocket(f"a sideband of {session.id}", speaks)

    async def run(self, socket: WebSocketResponse) -> None:
        """Serve the client until it is gone, or :meth:`close` is called."""
        worker.session.set(self._session.id)  # what it asks for is the session's work
        telling = self._session.optional.keep("a sideband's events", self._events.dialect.run)
        await self._events.serve(socket, {"telling": telling}, self._session.running)

    def close(self, reason: str, code: WSCloseCode = WSCloseCode.OK) -> None:
        """End it; :meth:`run` returns soon after. Idempotent."""
        self._events.end(reason, code)

    def leave(self) -> None:
        """Listen to the session no more. Idempotent."""
        self._events.dialect.leave()
