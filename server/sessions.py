"""Who is connected: admission, look-up, and the end of all sessions. Owns the task of every session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import WSCloseCode
from aiohttp.web import WebSocketResponse

from media.aiortc_internals.ports import NoPortError
from media.clock import Clock
from pipelines.assistant.session import AssistantSession
from pipelines.routing.run import Priority
from pipelines.runtime import worker
from server.composition import Composer
from server.descriptors import own_descriptors
from server.dialects.live.models import HUNG_UP, LiveSession
from server.dialects.openai.fields import SessionPatch
from server.dialects.rtvi.dialect import LEFT
from server.load.plan import URGENT
from server.load.state import Load
from server.observability.metrics import Metrics
from server.resumption import KeptConversations, Memory, NoMemory, Remembered, remembered
from server.settings import Settings
from server.transports.interface import REPLACED
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.peer import PeerConnection
from server.transports.websocket.session import Sideband, SocketSession

log = logging.getLogger(__name__)

MOST_SIDEBANDS = 4
"""Clients that may look on at one session, and control it, besides its own."""
Connect = Callable[[], Awaitable[WebSocketResponse]]
"""Completes the handshake of a WebSocket, once it is known that it is wanted."""


@dataclass(frozen=True, slots=True)
class CallKind:
    """What is special about a call."""

    resumable: bool = False
    """Another one may go on with its conversation later."""
    previous: str | None = None
    """The session whose conversation it goes on with, if that is known, and which it ends."""
    labelled: bool = False
    """The label of a data channel chooses its dialect. aiortc's own examples call theirs as Pipecat's clients do."""
    live: LiveSession | None = None
    """What it begins with, if OpenAI's Live is spoken in it."""
    pipeline: str | None = None
    """Id of the pipeline that it runs, if not the usual one."""


class ServerFullError(Exception):
    """No room for another session, now; ``places``: how many sessions there may be."""

    def __init__(self, message: str, places: int) -> None:
        super().__init__(message)
        self.places = places


class ServerBusyError(ServerFullError):
    """There is a place, but too much to do already; ``retry_after``: seconds after which it may be otherwise."""

    def __init__(self, message: str, places: int, retry_after: int) -> None:
        super().__init__(message, places)
        self.retry_after = retry_after


class UnknownCallError(Exception):
    """There is no such session, or no more."""


class TooManySidebandsError(Exception):
    """As many clients look on at that session already as may."""


def call_id(session_id: str) -> str:
    """A session's name among calls: clients insist on ``rtc_…``."""
    return f"rtc_{session_id.removeprefix('sess_')}"


def _why_not(error: BaseException) -> str:
    """Why a session ends that has not begun."""
    if isinstance(error, asyncio.CancelledError):
        return "the offer was withdrawn"
    return "there was no UDP port for it" if isinstance(error, NoPortError) else "the offer could not be answered"


def session_id_of(name: str) -> str:
    """The session's own name, of that or its name among calls."""
    return f"sess_{name.removeprefix('rtc_')}" if name.startswith("rtc_") else name


class Registry:
    """The sessions of this process."""

    def __init__(
        self,
        composer: Composer,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        memory: Memory | None = None,
        load: Load | None = None,
    ) -> None:
        self._composer = composer
        self._load = load or Load(clock)
        self._memory = memory or NoMemory()
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, PeerConnection] = {}
        self._sockets: dict[str, SocketSession] = {}
        self._sidebands: dict[str, set[Sideband]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept = KeptConversations()
        self.begun = 0
        """Sessions since the start."""
        self._closing = False
        self._leaving = False
        """Whether sessions are asked to go on elsewhere."""
        self._descriptors = own_descriptors()

    def __len__(self) -> int:
        return len(self._sessions) + len(self._sockets)

    @property
    def ids(self) -> list[str]:
        """Of the sessions that live."""
        return [*self._sessions, *self._sockets]

    @property
    def has_room(self) -> bool:
        """Whether another offer would be accepted."""
        return self._why_full() is None and not (len(self) and self._load.refusal("session", "normal"))

    @property
    def free(self) -> int:
        """How many more sessions would be accepted."""
        left = self._settings.max_sessions - self._settings.reserved_sessions - len(self)
        return max(0, left) if self.has_room else 0

    @property
    def load_told(self) -> dict[str, int]:
        """How loaded the process is, for whoever chooses among several: its level, and when it may be better."""
        return {"level": self._load.level, "retry_after": self._load.retry_after()}

    @property
    def living(self) -> list[AssistantSession]:
        """All sessions, whatever they are reached over."""
        peers: list[PeerConnection | SocketSession] = [*self._sessions.values(), *self._sockets.values()]
        return [peer.session for peer in peers]

    def check_room(self, priority: Priority | None = None) -> None:
        """Raise :class:`ServerFullError` when another offer would be refused."""
        self._check_room(priority)

    def remembers(self, session_id: str) -> bool:
        """Whether another session could go on with the conversation of this one now."""
        return self._so_far(session_id) is not None

    def goes_on(self, session_id: str) -> bool:
        """Whether a session lives, or another could go on with its conversation."""
        return session_id in self._sessions or session_id in self._kept

    def _why_full(self, priority: Priority = "normal", previous: str | None = None) -> str | None:
        """``previous`` would make room."""
        if self._closing:
            return "the server is shutting down"
        if self._leaving:
            return "this part of the server is being restarted"
        places, reserved = self._settings.max_sessions, self._settings.reserved_sessions
        others = len(self) - (previous in self._sessions)
        if others >= places:
            return "the only place is taken" if places == 1 else f"all {places} places are taken"
        if others >= places - reserved and priority not in URGENT:
            return f"all places are taken but {reserved} that are kept for sessions of high priority"
        return "the server has no more file descriptors for calls" if self._descriptors.all_taken else None

    def _check_room(self, priority: Priority | None, previous: str | None = None) -> None:
        """A conversation that goes on is none that is new: the load keeps nobody from coming back. Nor does it keep the
        first from coming: what a server without sessions is slowed down by is not its own."""
        priority, places = priority or "normal", self._settings.max_sessions
        if (what := self._why_full(priority, previous)) is not None:
            raise ServerFullError(what, places)
        if not len(self) or (previous is not None and self.goes_on(previous)):
            return
        if (busy := self._load.refusal("session", priority)) is not None:
            self._load.turned_away("session")
            raise ServerBusyError(busy.message, places, busy.retry_after)

    async def open(self, offer: Offer, wishes: SessionPatch, kind: CallKind | None = None) -> tuple[str, str]:
        """A session for this offer: its id, and the SDP of its answer. ``wishes`` are settings that it begins with.

        Raises :class:`ServerFullError` (:class:`ServerBusyError` where it is not for the number of sessions),
        :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled, and
        :class:`~pipelines.errors.PipelineError` for a pipeline that is not there or no conversation.
        :func:`server.transports.webrtc.offers.read_offer` has refused what cannot be answered: any other exception is a
        defect of ours.
        """
        kind = kind or CallKind()
        self._check_room(wishes.priority, kind.previous)
        before = self._so_far(kind.previous) if kind.previous is not None else None
        docked = self._composer.call(offer, wishes, self.close, before, kind.live, kind.pipeline)
        if not kind.labelled:
            docked = replace(docked, labelled={})
        if kind.resumable:
            docked = replace(docked, ending=partial(self._keep, docked.session))
            self._memory.follow(docked.session)
        peer = PeerConnection(offer, docked, self._settings, self._clock)
        if kind.previous is not None:  # not before it is known that there is another to go on in
            self.replaced(kind.previous)
        self._sessions[peer.id] = peer
        self._join(peer)
        worker.session.set(peer.id)  # the transport's tasks inherit it: a client may ask for an answer out of one
        try:
            answer = await peer.answer(offer)
        except BaseException as error:
            peer.close(_why_not(error))
            if kind.previous is not None and before is not None and not self._closing:
                self._kept.keep(kind.previous, before)  # its client will offer once more
            if isinstance(error, NoPortError):
                raise ServerFullError(str(error), self._settings.max_sessions) from error
            raise
        finally:
            self._start(peer)
        return peer.id, answer

    def _keep(self, session: AssistantSession, reason: str) -> None:
        """A session ends; another may go on with its conversation, unless that was not to be."""
        resumable = reason not in (REPLACED, LEFT, HUNG_UP) and not self._closing
        if resumable:
            self._kept.keep(session.id, remembered(session))
        self._memory.ended(session.id, resumable=resumable)

    def _so_far(self, session_id: str) -> Remembered | None:
        """What a session begins with that goes on with the conversation of this one."""
        peer = self._sessions.get(session_id)
        return self._kept.find(session_id) if peer is None or peer.ended_because else remembered(peer.session)

    def adopt(self, session_id: str, what: Remembered) -> None:
        """Another process has served a session: its conversation may go on here."""
        self._kept.keep(session_id, what)

    def replaced(self, session_id: str) -> None:
        """The conversation of a session goes on in another, here or elsewhere."""
        peer = self._sessions.get(session_id)
        if peer is not None:
            peer.close(REPLACED)
        self._kept.take(session_id)

    # ------------------------------------------------------------------------------------------------ WebSockets

    async def converse(self, connect: Connect, wishes: SessionPatch, *, own_events: bool = False) -> None:
        """A session over a WebSocket, until it ends. ``wishes`` are settings that it begins with; ``own_events`` as in
        :class:`~server.dialects.openai.settings.Served`.

        Raises as :meth:`open` does, before ``connect`` is called.
        """
        self._check_room(wishes.priority)
        peer = self._composer.socket(wishes, own_events=own_events)
        self._sockets[peer.id] = peer
        self._join(peer)
        await self._serve(connect, peer, lambda: self._leave(peer))

    async def attend(self, name: str, connect: Connect, *, own_events: bool = False) -> None:
        """Another client of a running session (its id, or its call's), until one of them ends.

        Raises :class:`UnknownCallError` and :class:`TooManySidebandsError`, before ``connect`` is called.
        """
        session_id = session_id_of(name)
        peer = self._named(session_id)
        if peer is None:
            raise UnknownCallError(f"there is no call {name[:80]!a}")
        others = self._sidebands.setdefault(session_id, set())
        if len(others) >= MOST_SIDEBANDS:
            raise TooManySidebandsError(f"{MOST_SIDEBANDS} clients look on at this call already")
        sideband = self._composer.sideband(peer, own_events=own_events)

        def left() -> None:
            sideband.leave()
            others.discard(sideband)

        others.add(sideband)
        await self._serve(connect, sideband, left)

    def _named(self, session_id: str) -> PeerConnection | SocketSession | None:
        peer = self._sessions.get(session_id)
        return self._sockets.get(session_id) if peer is None else peer

    async def _serve(self, connect: Connect, peer: SocketSession | Sideband, left: Callable[[], object]) -> None:
        """Serve a client to its end, whatever becomes of the request that it came with, and then call ``left``."""

        async def serve() -> None:
            await peer.run(await connect())

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            left()

        task = asyncio.create_task(serve())
        self._tasks.add(task)
        task.add_done_callback(ended)
        try:
            await asyncio.shield(task)
        finally:
            peer.close("the server has ended the request", WSCloseCode.GOING_AWAY)
            await asyncio.wait([task])

    def _join(self, peer: PeerConnection | SocketSession) -> None:
        self.begun += 1
        self._load.admitted()
        self._metrics.join(peer)

    def _leave(self, peer: PeerConnection | SocketSession) -> None:
        """A session is over."""
        if self._sessions.get(peer.id, self._sockets.get(peer.id)) is peer:
            self._load.given_up.update(peer.session.left_out)
        self._sessions.pop(peer.id, None)
        self._sockets.pop(peer.id, None)
        self._metrics.leave(peer)
        for sideband in self._sidebands.pop(peer.id, ()):
            sideband.close(peer.ended_because or "the session has ended")

    # ------------------------------------------------------------------------------------------------ all

    @property
    def all(self) -> list[PeerConnection]:
        """The sessions that live now."""
        return list(self._sessions.values())

    def find(self, session_id: str) -> PeerConnection | None:
        """The session of that id, while it lives."""
        peer = self._sessions.get(session_id)
        return peer if peer is not None and not peer.ended_because else None

    def close(self, session_id: str, reason: str) -> bool:
        """End a session (its id, or its call's) politely; ``False`` when there is none of that name."""
        peer = self._named(session_id_of(session_id))
        if peer is not None:
            peer.close(reason)
        return peer is not None

    def tell_engines(self) -> None:
        """Let every client know which engines serve it now."""
        for session in self.living:
            session.engines_changed()

    def leave(self, seconds: float) -> None:
        """Take no sessions any more, and ask those that are here to go on elsewhere within ``seconds``."""
        self._leaving = True
        for session in self.living:
            session.moves(seconds)

    async def close_all(self, timeout: float) -> None:
        """End every session politely; those not gone after ``timeout`` seconds are cut off."""
        self._closing = True
        self._kept.clear()
        for peer in list(self._sessions.values()):
            peer.close("the server is shutting down")
        sidebands = (sideband for others in self._sidebands.values() for sideband in others)
        sockets: list[SocketSession | Sideband] = [*self._sockets.values(), *sidebands]
        for socket in sockets:
            socket.close("the server is shutting down", WSCloseCode.GOING_AWAY)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, peer: PeerConnection) -> None:
        task = asyncio.create_task(peer.run(), name=peer.id)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._forget(peer, done))

    def _forget(self, peer: PeerConnection, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._leave(peer)
