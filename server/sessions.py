"""Who is connected: admission, look-up, and the end of all sessions. Owns the task of every session.

The one place where a session, its transport and its dialect are put together: none of them knows the others' kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from media.audio_out import AudioOut
from media.clock import Clock, local_time
from media.video_convert import Converter
from pipelines.assistant.session import AssistantSession, FirstSettings
from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.stt import languages_of
from pipelines.runtime import worker
from server.descriptors import own_descriptors
from server.dialects.openai.dialect import RealtimeDialect
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import Served, merge
from server.dialects.openai.vision import VisionPatch, merge_vision
from server.dialects.rtvi.dialect import LEFT, RtviDialect
from server.engines.build import Engines
from server.observability.metrics import Metrics
from server.resumption import KeptConversations, Remembered, remembered
from server.settings import Settings
from server.transports.interface import REPLACED, Dialect, Event
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.peer import Docked, PeerConnection

log = logging.getLogger(__name__)

RTVI_CHANNEL = "chat"
"""The label of the data channel that Pipecat's clients open; on those of any other label OpenAI Realtime is spoken."""


class ServerFullError(Exception):
    """No room for another session, now."""


class Registry:
    """The sessions of this process."""

    def __init__(self, engines: Engines, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._engines = engines
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, PeerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept = KeptConversations()
        self._closing = False
        self._descriptors = own_descriptors()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def has_room(self) -> bool:
        """Whether another offer would be accepted."""
        return self._why_full() is None

    def goes_on(self, session_id: str) -> bool:
        """Whether a session lives, or another could go on with its conversation."""
        return session_id in self._sessions or session_id in self._kept

    def _why_full(self, previous: str | None = None) -> str | None:
        """``previous`` would make room."""
        if self._closing:
            return "the server is shutting down"
        if len(self._sessions.keys() - {previous}) >= self._settings.max_sessions:
            return f"all {self._settings.max_sessions} places are taken"
        return "the server has no more file descriptors for calls" if self._descriptors.all_taken else None

    async def open(
        self, offer: Offer, wishes: SessionPatch, *, resumable: bool = False, previous: str | None = None
    ) -> tuple[str, str]:
        """A session for this offer: its id, and the SDP of its answer. ``wishes`` are settings that it begins with.

        ``resumable``: another one may go on with its conversation later; ``previous``: the one whose conversation it
        goes on with, if that is known, and which it ends.

        Raises :class:`ServerFullError`, and
        :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled.
        :func:`server.transports.webrtc.offers.read_offer` has refused what cannot be answered: any other exception is a
        defect of ours.
        """
        if (what := self._why_full(previous)) is not None:
            raise ServerFullError(what)
        before = self._leave(previous) if previous is not None else None
        docked = self._docked(offer, wishes, before, resumable=resumable)
        peer = PeerConnection(offer, docked, self._settings, self._clock)
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

    def _leave(self, session_id: str) -> Remembered | None:
        """End a session whose conversation goes on in another; what that begins with."""
        peer = self._sessions.get(session_id)
        if peer is None or peer.ended_because:
            return self._kept.take(session_id)
        what = remembered(peer.session)
        peer.close(REPLACED)
        return what

    def _docked(self, offer: Offer, wishes: SessionPatch, before: Remembered | None, *, resumable: bool) -> Docked:
        """A session with its voice, its dialects and its observers."""
        engines, settings, vision = self._engines, self._settings, wishes.vision or VisionPatch()
        voice = AudioOut(self._clock) if offer.wants_audio else None
        served = Served(
            lambda: engines.voice.tts.voices,
            lambda: languages_of(engines.voice.stt),
            voice is not None,
            engines.status,
            settings.language,
        )
        usual = engines.conversation_settings()
        first = FirstSettings(
            merge(usual, usual, wishes, served),
            merge_vision(engines.vision_settings(), vision),
            (lambda: time_words(local_time())) if settings.tell_time else str,
        )
        if before is not None:
            first = replace(first, conversation=before.conversation, vision=before.vision)
        session = AssistantSession(engines, self._clock, None if voice is None else voice.mixer, Converter, first)
        if before is not None:
            before.tell(session)
        session.events.attach("metrics", self._metrics.observer())

        def realtime(send: Callable[[Event], None], codec: Callable[[], str | None]) -> Dialect:
            return RealtimeDialect(session, served, send, codec)

        def rtvi(send: Callable[[Event], None], codec: Callable[[], str | None]) -> Dialect:
            return RtviDialect(session, served, send, codec, self._clock, partial(self.close, session.id))

        def ending(reason: str) -> None:
            if resumable and reason not in (REPLACED, LEFT) and not self._closing:
                self._kept.keep(session.id, remembered(session))

        return Docked(session, voice, realtime, vision.codec, {RTVI_CHANNEL: rtvi}, ending)

    def find(self, session_id: str) -> PeerConnection | None:
        """The session of that id, while it lives."""
        return self._sessions.get(session_id)

    def close(self, session_id: str, reason: str) -> bool:
        """End a session politely; ``False`` when there is none of that id."""
        peer = self._sessions.get(session_id)
        if peer is not None:
            peer.close(reason)
        return peer is not None

    def tell_engines(self) -> None:
        """Let every client know which engines serve it now."""
        for peer in self._sessions.values():
            peer.session.engines_changed()

    async def close_all(self, timeout: float) -> None:
        """End every session politely; those not gone after ``timeout`` seconds are cut off."""
        self._closing = True
        self._kept.clear()
        for peer in list(self._sessions.values()):
            peer.close("the server is shutting down")
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
        self._sessions.pop(peer.id, None)
        self._metrics.leave(peer)
