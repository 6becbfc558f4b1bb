"""Sessions put together with transports and dialects: the one place that knows the kinds of all three."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from media.audio_out import AudioOut
from media.clock import Clock, local_time
from media.video_convert import Converter
from pipelines.assistant.events import Event as SessionEvent
from pipelines.assistant.events import SessionOver
from pipelines.assistant.session import AssistantEngines, AssistantSession, FirstSettings
from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.llm import adapter_asked
from pipelines.interfaces.stt import languages_of
from pipelines.voice.history import new_id
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.tts import VoiceOut
from server.dialects.live.dialect import LiveDialect
from server.dialects.live.models import LiveSession
from server.dialects.live.settings import LiveSettings
from server.dialects.openai.audio import SessionFormats
from server.dialects.openai.dialect import RealtimeDialect
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import Served, check_recording, merge
from server.dialects.openai.shapes import Json, session_event
from server.dialects.openai.vision import VisionPatch, merge_vision, vision_json
from server.dialects.rtvi.dialect import RtviDialect
from server.engines.build import Engines
from server.observability.history.notes import Notes
from server.observability.metrics import Metrics
from server.recordings.recorder import Recorder
from server.recordings.store import Recordings
from server.resumption import Remembered
from server.settings import Settings
from server.transports.interface import Dialect, Event
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.peer import Docked, PeerConnection
from server.transports.websocket.microphone import Microphone
from server.transports.websocket.session import Sideband, SocketDocked, SocketSession
from server.transports.websocket.voice import SocketVoice

RTVI_CHANNEL = "chat"
"""The label of the data channel that Pipecat's clients open; on those of any other label OpenAI Realtime is spoken."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A session, and what its clients can be offered."""

    session: AssistantSession
    served: Served


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told of sessions, beside their clients."""

    notes: Notes = field(default_factory=Notes)
    """The history's."""
    late: Callable[[float], object] = lambda seconds: None
    """Hears by how much sound left late."""


class Composer:
    """Makes what the registry keeps."""

    def __init__(
        self,
        engines: Engines,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        recordings: Recordings | None = None,
        ids: Callable[[str], str] = new_id,
        watchers: Watchers | None = None,
    ) -> None:
        self._engines = engines
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._recordings = recordings
        self._new_id = ids
        self._watchers = watchers or Watchers()
        self._formats: WeakKeyDictionary[AssistantSession, SessionFormats] = WeakKeyDictionary()
        """Of sessions whose sound travels in events."""
        self._usual: WeakKeyDictionary[AssistantSession, ConversationSettings] = WeakKeyDictionary()
        """What null means to the clients of a session."""

    def call(
        self,
        offer: Offer,
        wishes: SessionPatch,
        close: Callable[[str, str], object],
        before: Remembered | None = None,
        live: LiveSession | None = None,
        pipeline: str | None = None,
    ) -> Docked:
        """A session for a peer connection, which goes on with ``before``; ``close`` ends that of an id for a reason.

        ``pipeline``: id of the one that it runs, if not the usual. Raises :class:`~pipelines.errors.PipelineError`
        (``unknown_pipeline``, ``no_conversation``).

        With ``live`` it speaks OpenAI's Live, whatever the label of a data channel: what a channel may carry is settled
        there. Raises :class:`~server.dialects.openai.settings.RefusedError`.
        """
        sounds = offer.wants_audio or offer.published
        voice = AudioOut(self._clock, for_followers=not offer.wants_audio, late=self._watchers.late) if sounds else None
        engines = self._engines if pipeline is None else self._engines.for_pipeline(pipeline)
        composed = self._session(None if voice is None else voice.mixer, wishes, before=before, engines=engines)
        session, served = composed.session, composed.served
        session.events.attach("the end", _ends(lambda reason: close(session.id, reason)))
        recorder = self._recorder(composed, wishes)
        served = replace(served, recording=recorder)
        if live is not None:
            settings = LiveSettings(session, served, live)

            def lives(send: Callable[[Event], None], codec: Callable[[], str | None]) -> Dialect:
                return LiveDialect(settings, send, self._clock, lambda reason: close(session.id, reason))

            return Docked(session, voice, lives, recorder=recorder)

        def realtime(send: Callable[[Event], None], codec: Callable[[], str | None]) -> Dialect:
            return RealtimeDialect(session, served, send, codec, begins=wishes)

        def rtvi(send: Callable[[Event], None], codec: Callable[[], str | None]) -> Dialect:
            return RtviDialect(session, served, send, codec, self._clock, lambda reason: close(session.id, reason))

        codec = (wishes.vision or VisionPatch()).codec
        return Docked(session, voice, realtime, codec, {RTVI_CHANNEL: rtvi}, recorder=recorder)

    def socket(self, wishes: SessionPatch, *, own_events: bool = False) -> SocketSession:
        """A session for a WebSocket; ``own_events`` as in :class:`~server.dialects.openai.settings.Served`.

        Raises :class:`~server.dialects.openai.settings.RefusedError`.
        """
        check_recording(wishes, None)  # such a client has all the sound itself
        voice = SocketVoice(self._clock)
        composed = self._session(voice, wishes, plays=False)
        served = replace(composed.served, own_events=own_events)
        formats = self._formats[composed.session] = SessionFormats()

        def speaks(send: Callable[[Any], None], microphone: Microphone) -> RealtimeDialect:
            return RealtimeDialect(composed.session, served, send, lambda: None, microphone, wishes, formats)

        made = SocketSession(SocketDocked(composed.session, voice, speaks), self._clock)
        composed.session.events.attach("the end", _ends(made.close))
        return made

    def sideband(self, peer: PeerConnection | SocketSession, *, own_events: bool = False) -> Sideband:
        """Another client for a running session; ``own_events`` as for :meth:`socket`."""
        session = peer.session
        tracks = peer.tracks if isinstance(peer, PeerConnection) else None
        served = replace(
            self._served(session.engines, session.sounds, plays=tracks is not None),
            own_events=own_events,
            priority=session.priority,
            usual=self._usual.get(session),
            recording=peer.recorder if isinstance(peer, PeerConnection) else None,
        )

        def speaks(send: Callable[[Any], None]) -> RealtimeDialect:
            codec = (lambda: None) if tracks is None else (lambda: tracks.codec)
            return RealtimeDialect(session, served, send, codec, formats=self._formats.get(session))

        return Sideband(session, speaks)

    def effective_session(self, wishes: SessionPatch) -> Json:
        """The session object that ``wishes`` lead to for a peer with sound, before there is a session.

        Raises :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled.
        """
        voice, served = self._engines.voice, self._served(self._engines, True, plays=True)
        first = self._first(self._engines, wishes, served)
        models: Json = {"stt": voice.stt.name, "llm": voice.llm.name, "tts": voice.tts.name}
        models["language"] = first.conversation.language or self._settings.language
        event = session_event("session.created", self._new_id("sess"), first.conversation, voice.tts.voices[0], models)
        session: Json = event["session"]
        session["vision"] = vision_json(first.vision, None if wishes.vision is None else wishes.vision.codec, {})
        session["priority"] = first.priority
        return session

    # ------------------------------------------------------------------------------------------------ inside

    def _recorder(self, composed: Composed, wishes: SessionPatch) -> Recorder | None:
        """What records the session, if anything may."""
        if self._recordings is None:
            check_recording(wishes, None)
            return None
        session, served = composed.session, composed.served

        def speaks(send: Callable[[Event], None]) -> RealtimeDialect:
            return RealtimeDialect(session, served, send, lambda: None)

        recorder = Recorder(session, self._recordings, speaks, self._clock)
        if wishes.recording is not None:
            recorder.want(bool(wishes.recording.enabled), bool(wishes.recording.video))
        return recorder

    def _session(
        self,
        out: VoiceOut[Any] | None,
        wishes: SessionPatch,
        *,
        plays: bool = True,
        before: Remembered | None = None,
        engines: Engines | None = None,
    ) -> Composed:
        """A session whose voice sounds in ``out``, and is observed."""
        engines = engines or self._engines
        served = self._served(engines, out is not None, plays=plays)
        first = self._first(engines, wishes, served)
        usual = replace(first.conversation, spoken=out is not None and first.conversation.spoken)
        if before is not None:
            manners = replace(first.manners, greeting="")  # that was said before
            first = replace(first, conversation=before.conversation, vision=before.vision, manners=manners)
            first = replace(first, priority=wishes.priority or before.priority)
        session = AssistantSession(engines, self._clock, out, Converter, first)
        self._usual[session] = usual
        if before is not None:
            before.tell(session)
        session.events.attach("metrics", self._metrics.observer(engines))
        session.events.attach("history", self._watchers.notes.observer(session.id))
        return Composed(session, replace(served, priority=session.priority, usual=usual))

    def _first(self, engines: Engines, wishes: SessionPatch, served: Served) -> FirstSettings:
        usual = engines.conversation_settings()
        return FirstSettings(
            merge(usual, usual, wishes, served),
            merge_vision(engines.vision_settings(), wishes.vision or VisionPatch()),
            engines.manners(),
            (lambda: time_words(local_time())) if self._settings.tell_time else str,
            self._new_id("sess"),
            wishes.priority or "normal",
        )

    def _served(self, engines: AssistantEngines, sounds: bool, *, plays: bool) -> Served:
        """What clients of a session with ``engines`` can be offered; the arguments are those of :class:`Served`."""
        return Served(
            lambda: engines.voice.tts.voices,
            lambda: languages_of(engines.voice.stt),
            sounds,
            self._engines.status,
            self._settings.language,
            plays,
            tools=lambda: tuple(tool.tool for tool in engines.voice.tools()),
            adapter=lambda name: adapter_asked(engines.voice.llm, name),
        )


def _ends(close: Callable[[str], object]) -> Callable[[SessionEvent], None]:
    """A subscriber that ends the session when the assistant sees no sense in going on."""

    def take(event: SessionEvent) -> None:
        if isinstance(event, SessionOver):
            close(event.reason)

    return take
