"""OpenAI Realtime (GA) for one session: its bus in the client's words, and the client's words carried out on it."""

from __future__ import annotations

from collections.abc import Callable

from media.frames import Samples
from pipelines.assistant.events import (
    EnginesChanged,
    Event,
    RecordingChanged,
    SessionDegraded,
    SessionMoved,
    SessionOver,
    SettingsChanged,
)
from pipelines.assistant.session import AssistantSession
from server.dialects.openai.audio import EventAudio, Microphone, SessionFormats, format_json, rate_of, told_as
from server.dialects.openai.client_events import RealtimeClient
from server.dialects.openai.fields import Audio, SessionPatch
from server.dialects.openai.response_events import Sound
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.settings import Served
from server.dialects.openai.shapes import (
    Json,
    degraded_event,
    ended_event,
    error_event,
    is_own,
    server_event,
    session_event,
    status_event,
    transcription_event,
)
from server.dialects.openai.vision import vision_json
from server.dialects.openai.wire import messages

PART = "the client's events"
"""What this is called when it fails."""


class RealtimeDialect:
    """A subscriber of the session's bus. Events go to ``send``; ``codec`` tells in which the video goes back.

    With a ``microphone`` the events carry the sound, too, both ways. ``begins`` are wishes of the client's that the
    session begins with; :class:`~server.dialects.openai.settings.RefusedError` is raised for formats that cannot be.
    ``formats`` are those of the session where events of one of its clients carry the sound.
    """

    def __init__(
        self,
        session: AssistantSession,
        served: Served,
        send: Callable[[Json], None],
        codec: Callable[[], str | None],
        microphone: Microphone | None = None,
        begins: SessionPatch | None = None,
        formats: SessionFormats | None = None,
    ) -> None:
        self._session = session
        self._served = served
        self._send = send
        self._codec = codec
        self._inbox = session.events.subscribe()
        self._audio = EventAudio(microphone, formats)
        audio = (begins or SessionPatch()).audio or Audio()
        self._audio.formats = self._audio.formats_with(audio.input, audio.output, "session")
        sound = Sound(served.plays, self._audio.travels, lambda: self._audio.formats.output)
        self._events = RealtimeEvents(lambda: session.conversation.settings.transcripts, sound)
        self._client = RealtimeClient(
            session.conversation,
            session.vision,
            served,
            self._answer,
            session.settings_changed,
            self._audio,
            self._untold,
        )

    # ------------------------------------------------------------------------------------------------ out

    async def run(self) -> None:
        """Tell the client what happens, until the session ends."""
        async for event in self._inbox:
            self._send_all(self._told(event))

    def greeting(self) -> list[Json]:
        """What a new channel gets first."""
        return self._wanted([self._session_event("session.created"), status_event(self._served.status())])

    def refusal(self, code: str, message: str) -> Json:
        """Something of the client was not let through to here."""
        return error_event(code, message)

    def failure(self, what: str, *, answers: bool) -> Json:
        """The server has failed at ``what``; ``answers``: at the message that is being received."""
        message = f"the server failed at {what}; its log has the details"
        event_id = self._client.event_id if answers else None
        return error_event("internal_error", message, event_id=event_id, kind="server_error")

    def farewell(self, reason: str) -> list[Json]:
        """What has not been told yet, and why the session ends."""
        return [*self._rest(), ended_event(reason)]

    def messages(self, event: Json, largest: int) -> list[str]:
        """The event as messages of at most ``largest`` bytes; none when it cannot be made that small."""
        return messages(event, largest)

    def leave(self) -> None:
        """Listen to the session no more. Idempotent."""
        self._session.events.unsubscribe(self._inbox)

    # ------------------------------------------------------------------------------------------------ the voice

    def sound_rate(self) -> int:
        """Hertz of the response that sounds next."""
        self._send_all(self._rest())
        return rate_of(self._events.sounds_as or self._audio.formats.output)

    def sound(self, samples: Samples, rate: int) -> None:
        """The next of the response that sounds; it keeps its place behind what has happened before."""
        self._send_all(self._rest())
        if len(samples) and (kind := self._events.sounds_as) is not None:
            self._send_all(self._events.sound(told_as(kind, samples)))

    def sound_ended(self) -> None:
        """All of that response has been told."""
        self._send_all(self._rest())
        self._send_all(self._events.sound_ended())

    # ------------------------------------------------------------------------------------------------ in

    def receive(self, message: str | bytes) -> None:
        """What the client says."""
        self._client.receive(message)

    def _untold(self) -> tuple[str, ...]:
        """Ids of the responses that have begun, and whose end the client has not been told."""
        self._send_all(self._rest())
        return self._events.untold

    def _answer(self, answer: Json) -> None:
        """Answers keep their place behind what has happened before."""
        self._send_all(self._rest())
        self._send(answer)

    # ------------------------------------------------------------------------------------------------ inside

    def _rest(self) -> list[Json]:
        return [told for event in self._inbox.take() for told in self._told(event)]

    def _send_all(self, events: list[Json]) -> None:
        for event in events:
            self._send(event)

    def _told(self, event: Event) -> list[Json]:
        """The wire events for one of the session; none for one that the translation fails at, which is told once."""
        return self._wanted(self._session.optional.call(PART, self._translate, event) or [])

    def _wanted(self, events: list[Json]) -> list[Json]:
        return events if self._served.own_events else [event for event in events if not is_own(event)]

    def _translate(self, event: Event) -> list[Json]:
        match event:
            case SettingsChanged():
                return [self._session_event("session.updated")]
            case EnginesChanged():
                return [status_event(self._served.status())]
            case SessionOver():
                return []  # its end is told with the farewell
            case SessionMoved():
                return [server_event("session.moved", session_id=self._session.id, seconds=event.seconds)]
            case SessionDegraded():
                return [degraded_event(event)]
            case RecordingChanged():
                seconds = round(event.seconds, 3)
                return [server_event("recording.changed", state=event.state, seconds=seconds, reason=event.reason)]
            case _:
                return self._events.translate(event)

    def _session_event(self, kind: str) -> Json:
        shown = session_in_effect(self._session, self._served, self._codec())
        shown["audio"]["input"]["format"] = format_json(self._audio.formats.input)
        shown["audio"]["output"]["format"] = format_json(self._audio.formats.output)
        event = server_event(kind, session=shown)
        return transcription_event(event) if self._session.conversation.settings.listens_only else event


def session_in_effect(session: AssistantSession, served: Served, codec: str | None) -> Json:
    """The settings of the session that are in effect, as in ``session.updated``."""
    settings, voice, vision = session.conversation.settings, session.engines.voice, session.vision
    models: Json = {"stt": voice.stt.name, "llm": voice.llm.name, "tts": voice.tts.name}
    models["language"] = settings.language or served.language
    event = session_event("session.updated", session.id, settings, voice.tts.voices[0], models)
    shown: Json = event["session"]
    shown["vision"] = vision_json(vision.settings, codec, vision.unavailable)
    shown["priority"] = session.priority
    if served.recording is not None:
        enabled, video = served.recording.wanted
        shown["recording"] = {"enabled": enabled, "video": video}
    return shown
