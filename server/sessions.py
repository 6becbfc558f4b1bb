"""Who is connected: admission, look-up, and the end of all sessions. Owns the task of every session.

The one place where a session, its transport and its dialect are put together: none of them knows the others' kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import WSCloseCode
from aiohttp.web import WebSocketResponse

from media.audio_out import AudioOut
from media.clock import Clock, local_time
from media.video_convert import Converter
from pipelines.assistant.session import AssistantSession, FirstSettings
from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.stt import languages_of
from pipelines.runtime import worker
from pipelines.voice.tts import VoiceOut
from server.descriptors import own_descriptors
from server.dialects.openai.dialect import RealtimeDialect
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import Served, merge
from server.dialects.openai.vision import VisionPatch, merge_vision
from server.engines.build import Engines
from server.observability.metrics import Metrics
from server.settings import Settings
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.peer import Docked, PeerConnection
from server.transports.websocket.microphone import Microphone
from server.transports.websocket.session import Sideband, SocketDocked, SocketSession
from server.transports.websocket.voice import SocketVoice

log = logging.getLogger(__name__)

MOST_SIDEBANDS = 4
"""Clients that may look on at one session, and control it, besides its own."""
Connect = Callable[[], Awaitable[WebSocketResponse]]
"""Completes the handshake of a WebSocket, once it is known that it is wanted."""


class ServerFullError(Exception):
    """No room for another session, now."""


class UnknownCallError(Exception):
    """There is no such session, or no more."""


class TooManySidebandsError(Exception):
    """As many clients look on at that session already as may."""


def call_id(session_id: str) -> str:
    """A session's name among calls: clients insist on ``rtc_…``."""
    return f"rtc_{session_id.removeprefix('sess_')}"


def session_id_of(name: str) -> str:
    """The session's own name, of that or its name among calls."""
    return f"sess_{name.removeprefix('rtc_')}" if name.startswith("rtc_") else name


class Registry:
    """The sessions of this process."""

    def __init__(self, engines: Engines, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._engines = engines
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, PeerConnection] = {}
        self._sockets: dict[str, SocketSession] = {}
        self._sidebands: dict[str, set[Sideband]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._descriptors = own_descriptors()

    def __len__(self) -> int:
        return len(self._sessions) + len(self._sockets)

    @property
    def has_room(self) -> bool:
        """Whether another offer would be accepted."""
        return self._why_full() is None

    def _why_full(self) -> str | None:
        if self._closing:
            return "the server is shutting down"
        if len(self) >= self._settings.max_sessions:
            return f"all {self._settings.max_sessions} places are taken"
        return "the server has no more file descriptors for calls" if self._descriptors.all_taken else None

    async def open(self, offer: Offer, wishes: SessionPatch, *, published: bool = False) -> tuple[str, str]:
        """A session for this offer: its id, and the SDP of its answer. ``wishes`` are settings that it begins with.

        ``published``: its peer need not take the voice itself, there may be viewers who do.

        Raises :class:`ServerFullError`, and
        :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled.
        :func:`server.transports.webrtc.offers.read_offer` has refused what cannot be answered: any other exception is a
        defect of ours.
        """
        if (what := self._why_full()) is not None:
            raise ServerFullError(what)
        peer = PeerConnection(offer, self._docked(offer, wishes, published), self._settings, self._clock)
        self._sessions[peer.id] = peer
        self._metrics.join(peer)
        worker.session.set(peer.id)  # the transport's tasks inherit it: a client may ask for an answer out of one
        try:
            answer = await peer.answer(offer)
        except asyncio.CancelledError:
            peer.close("the offer was withdrawn")
            self._start(peer)
            raise
        except BaseException:
            peer.close("the offer could not be answered")
            self._start(peer)
            raise
        self._start(peer)
        return peer.id, answer

    def _docked(self, offer: Offer, wishes: SessionPatch, published: bool) -> Docked:
        """A session with its voice, its dialect and its observers."""
        is_heard = offer.wants_audio
        voice = AudioOut(self._clock) if is_heard or published else None
        followers = voice.followers if voice is not None and not is_heard else None
        audible = None if followers is None else (lambda: len(followers) > 0)
        session, served = self._composed(None if voice is None else voice.mixer, wishes, audible=audible)
        codec = (wishes.vision or VisionPatch()).codec

        def speaks(send: Callable[[Any], None], codec: Callable[[], str | None]) -> RealtimeDialect:
            return RealtimeDialect(session, served, send, codec, begins=wishes)

        return Docked(session, voice, speaks, codec)

    def _composed(
        self,
        out: VoiceOut[Any] | None,
        wishes: SessionPatch,
        *,
        plays: bool = True,
        audible: Callable[[], bool] | None = None,
    ) -> tuple[AssistantSession, Served]:
        """A session whose voice sounds in ``out``, observed, and what its clients can be offered."""
        engines, settings = self._engines, self._settings
        served = self._offers(out is not None, plays=plays)
        usual = engines.conversation_settings()
        first = FirstSettings(
            merge(usual, usual, wishes, served),
            merge_vision(engines.vision_settings(), wishes.vision or VisionPatch()),
            (lambda: time_words(local_time())) if settings.tell_time else str,
        )
        if audible is not None:
            first = replace(first, audible=audible)
        session = AssistantSession(engines, self._clock, out, Converter, first)
        session.events.attach("metrics", self._metrics.observer())
        return session, served

    def _offers(self, sounds: bool, *, plays: bool) -> Served:
        """What clients can be offered; the arguments are those of :class:`Served`."""
        engines = self._engines
        return Served(
            lambda: engines.voice.tts.voices,
            lambda: languages_of(engines.voice.stt),
            sounds,
            engines.status,
            self._settings.language,
            plays,
        )

    # ------------------------------------------------------------------------------------------------ WebSockets

    async def converse(self, connect: Connect, wishes: SessionPatch) -> None:
        """A session over a WebSocket, until it ends. ``wishes`` are settings that it begins with.

        Raises as :meth:`open` does, before ``connect`` is called.
        """
        if (what := self._why_full()) is not None:
            raise ServerFullError(what)
        voice = SocketVoice(self._clock)
        session, served = self._composed(voice, wishes, plays=False)

        def speaks(send: Callable[[Any], None], microphone: Microphone) -> RealtimeDialect:
            return RealtimeDialect(session, served, send, lambda: None, microphone, wishes)

        peer = SocketSession(SocketDocked(session, voice, speaks), self._clock)
        self._sockets[peer.id] = peer
        self._metrics.join(peer)
        await self._serve(connect, peer, lambda: self._leave(peer))

    async def attend(self, name: str, connect: Connect) -> None:
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
        session = peer.session
        served = self._offers(session.sounds, plays=isinstance(peer, PeerConnection))
        tracks = peer.tracks if isinstance(peer, PeerConnection) else None

        def speaks(send: Callable[[Any], None]) -> RealtimeDialect:
            return RealtimeDialect(session, served, send, lambda: tracks.codec if tracks is not None else None)

        sideband = Sideband(session, speaks)

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

    def _leave(self, peer: PeerConnection | SocketSession) -> None:
        """A session is over."""
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
        return self._sessions.get(session_id)

    def close(self, session_id: str, reason: str) -> bool:
        """End a session (its id, or its call's) politely; ``False`` when there is none of that name."""
        peer = self._named(session_id_of(session_id))
        if peer is not None:
            peer.close(reason)
        return peer is not None

    def tell_engines(self) -> None:
        """Let every client know which engines serve it now."""
        peers: list[PeerConnection | SocketSession] = [*self._sessions.values(), *self._sockets.values()]
        for peer in peers:
            peer.session.engines_changed()

    async def close_all(self, timeout: float) -> None:
        """End every session politely; those not gone after ``timeout`` seconds are cut off."""
        self._closing = True
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
