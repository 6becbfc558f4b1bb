"""Who is connected: admission, look-up, and the end of all sessions. Owns the task of every session.

The one place where a session, its transport and its dialect are put together: none of them knows the others' kind.
"""

from __future__ import annotations

import asyncio
import logging

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
from server.engines.build import Engines
from server.observability.metrics import Metrics
from server.settings import Settings
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.peer import Docked, PeerConnection

log = logging.getLogger(__name__)


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

    async def open(self, offer: Offer, wishes: SessionPatch) -> tuple[str, str]:
        """A session for this offer: its id, and the SDP of its answer. ``wishes`` are settings that it begins with.

        Raises :class:`ServerFullError`, and
        :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled.
        :func:`server.transports.webrtc.offers.read_offer` has refused what cannot be answered: any other exception is a
        defect of ours.
        """
        if (what := self._why_full()) is not None:
            raise ServerFullError(what)
        peer = PeerConnection(offer, self._docked(offer, wishes), self._settings, self._clock)
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

    def _docked(self, offer: Offer, wishes: SessionPatch) -> Docked:
        """A session with its voice, its dialect and its observers."""
        engines, settings, vision = self._engines, self._settings, wishes.vision or VisionPatch()
        sounds = offer.wants_audio or offer.published
        voice = AudioOut(self._clock, for_followers=not offer.wants_audio) if sounds else None
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
        session = AssistantSession(engines, self._clock, None if voice is None else voice.mixer, Converter, first)
        session.events.attach("metrics", self._metrics.observer())
        return Docked(session, voice, lambda send, codec: RealtimeDialect(session, served, send, codec), vision.codec)

    @property
    def all(self) -> list[PeerConnection]:
        """The sessions that live now."""
        return list(self._sessions.values())

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
