"""OpenAI's Live for one session: its bus in the client's words, and the client's words carried out on it.

Transcripts come in fragments that a client puts together: what the user says when the turn is over, what the assistant
says as it is heard. Times are milliseconds since the session began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from media.clock import Clock, local_time
from pipelines.assistant.events import EnginesChanged, Event, SettingsChanged
from pipelines.voice.events import (
    Problem,
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    SpeechStopped,
    TranscriptFailed,
    UserTurn,
)
from server.dialects.live.client_events import CLOSE_REQUESTED, LiveClient, error_event
from server.dialects.live.delegation import Delegated
from server.dialects.live.models import HUNG_UP
from server.dialects.live.settings import LONGEST_SECONDS, LiveSettings
from server.dialects.openai.shapes import Json, milliseconds, server_event
from server.dialects.openai.wire import messages
from server.dialects.rtvi.bot_output import Segment, SpokenOutput

PART = "the events for the client"
"""What this is called when it fails."""
PROGRESS_SECONDS = 0.1
"""Between two looks at how far a response has been heard."""
MOST_FOLLOWED = 16
"""Responses, and turns of the user, that are followed at a time."""
EXPIRED = f"a session lasts {LONGEST_SECONDS // 3600} hours"
_REASONS = {CLOSE_REQUESTED: "close_requested", HUNG_UP: "close_requested", EXPIRED: "expired"}
"""Reasons for the end that are no errors, in the protocol's words."""


class LiveDialect:
    """A subscriber of the session's bus. Events go to ``send``; ``leave`` is called with the reason for the end."""

    def __init__(
        self,
        settings: LiveSettings,
        send: Callable[[Json], None],
        clock: Clock,
        leave: Callable[[str], object],
    ) -> None:
        self._session = settings.session
        self._settings = settings
        self._send = send
        self._clock = clock
        self._leave = leave
        self._began = clock.now()
        self._inbox = self._session.events.subscribe()
        self._client = LiveClient(settings, self._answer, self._now_ms, leave)
        self._stopped: dict[str, float] = {}
        """When turns of the user were over, by item."""
        self._outputs: dict[str, SpokenOutput | None] = {}
        """Responses by id; ``None`` for one without a voice."""
        self._delegated: dict[str, Delegated] = {}
        self._sounding = asyncio.Event()
        """Set while a response is being heard."""
        self._sounds: str | None = None
        """Its id."""
        self._until = 0
        """The end of the output transcript so far."""
        self._transcribed: set[str] = set()
        """Kinds of transcripts that have begun: fragments that follow begin with a space."""

    # ------------------------------------------------------------------------------------------------ out

    async def run(self) -> None:
        """Tell the client what happens, until the session ends."""
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._follow()), group.create_task(self._expire())]
            async for event in self._inbox:
                self._send_all(self._told(event))
            for task in others:
                task.cancel()

    def greeting(self) -> list[Json]:
        """What a new channel gets first."""
        return [self._session_event("session.started"), *self._tools_missing()]

    def refusal(self, code: str, message: str) -> Json:
        """Something of the client was not let through to here."""
        return error_event(code, message)

    def failure(self, what: str, *, answers: bool) -> Json:
        """The server has failed at ``what``; ``answers``: at the message that is being received."""
        message = f"the server failed at {what}; its log has the details"
        return error_event("internal_error", message, "", self._client.event_id if answers else None, ours=True)

    def farewell(self, reason: str) -> list[Json]:
        """What has not been told yet, and that the session has ended; of an end that nobody wanted, why."""
        self._client.leave()
        told = self._rest()
        if reason not in _REASONS:
            told.append(error_event("session_ended", f"the session has ended: {reason}", ours=True))
        closed = self._session_event("session.closed")
        closed |= {"reason": _REASONS.get(reason, "connection_lost"), "usage": self._usage()}
        return [*told, closed]

    def messages(self, event: Json, largest: int) -> list[str]:
        """The event as messages of at most ``largest`` bytes; none when it cannot be made that small."""
        return messages(event, largest)

    # ------------------------------------------------------------------------------------------------ in

    def receive(self, message: str | bytes) -> None:
        """What the client says."""
        self._client.receive(message)
        self._send_all(self._rest())  # with the event that it answers
        self._client.event_id = None

    def _answer(self, answer: Json) -> None:
        """Answers keep their place behind what has happened before."""
        self._send_all([*self._rest(), answer])

    # ------------------------------------------------------------------------------------------------ inside

    async def _follow(self) -> None:
        """Tell how far the response has been heard, while one is: the bus tells only its beginning and its end."""
        while True:
            await self._sounding.wait()
            self._send_all(self._rest())  # so that what is heard is of the response that is known to sound
            if (output := self._outputs.get(self._sounds or "")) is not None:
                self._send_all(self._words(output.heard(self._session.conversation.responses.heard)))
            await self._clock.sleep(PROGRESS_SECONDS)

    async def _expire(self) -> None:
        await self._clock.sleep(LONGEST_SECONDS)
        self._leave(EXPIRED)

    def _rest(self) -> list[Json]:
        return [told for event in self._inbox.take() for told in self._told(event)]

    def _send_all(self, events: list[Json]) -> None:
        for event in events:
            self._send(event)

    def _told(self, event: Event) -> list[Json]:
        """The events for one of the session; none for one that the translation fails at, which is told once."""
        told = self._session.optional.call(PART, self._translate, event) or []
        self._session.optional.call(PART, self._client.observe, event)
        if self._sounds is None:
            self._sounding.clear()
        else:
            self._sounding.set()
        return told

    def _translate(self, event: Event) -> list[Json]:
        match event:
            case SettingsChanged():
                return [self._session_event("session.updated"), *self._tools_missing()]
            case EnginesChanged():
                return [_info("engines_changed", f"{self._session.engines.voice.llm.name} answers from now on")]
            case SpeechStopped():
                _keep(self._stopped, event.item_id, event.time)
            case UserTurn(spoken=True):
                end = self._stopped.pop(event.item_id, self._now_ms() / 1000)
                times = milliseconds(max(0.0, end - event.seconds)), milliseconds(end)
                return self._transcript("input", event.text, *times)
            case TranscriptFailed() | Problem():
                return [error_event(event.error.code, event.error.message, ours=True)]
            case ResponseStarted(kept=True):
                return self._started(event)
            case ResponseText() | ResponseAudioStarted() | ResponseAudioStopped():
                return self._progress(event)
            case ResponseGenerated() | ResponseInterrupted() | ResponseFailed():
                return self._ended(event)
        return []

    # ------------------------------------------------------------------------------------------------ responses

    def _started(self, event: ResponseStarted) -> list[Json]:
        _keep(self._outputs, event.response_id, SpokenOutput() if event.spoken else None)
        if not self._settings.delegates:
            return []
        model, now = self._session.engines.voice.llm.name, round(local_time().timestamp())
        delegated = Delegated(event.response_id, event.item_id, model, now)
        _keep(self._delegated, event.response_id, delegated)
        return delegated.started(self._now_ms())

    def _progress(self, event: ResponseText | ResponseAudioStarted | ResponseAudioStopped) -> list[Json]:
        output = self._outputs.get(event.response_id)
        match event:
            case ResponseText() if output is not None:
                output.add(Segment(0, event.text))
            case ResponseText() if event.response_id in self._outputs:
                return self._transcript("output", event.text, self._now_ms(), self._now_ms())
            case ResponseAudioStarted():
                self._sounds, self._until = event.response_id, self._now_ms()
            case ResponseAudioStopped() if output is not None:
                return self._silent(event.response_id, output.finish())
        return []

    def _ended(self, event: ResponseGenerated | ResponseInterrupted | ResponseFailed) -> list[Json]:
        told: list[Json] = []
        if isinstance(event, ResponseInterrupted) and (output := self._outputs.get(event.response_id)) is not None:
            told += self._silent(event.response_id, output.heard(event.heard))
        if isinstance(event, ResponseFailed):
            told.append(error_event(event.error.code, event.error.message, ours=True))
        if (delegated := self._delegated.pop(event.response_id, None)) is not None:
            told += delegated.ended(event)
        return [*told, server_event("session.usage.updated", usage=self._usage())]

    def _silent(self, response_id: str, rest: list[Json]) -> list[Json]:
        """Nothing more of it will be heard than the rest."""
        del self._outputs[response_id]
        if self._sounds != response_id:
            return []
        self._sounds = None
        return self._words(rest)

    def _words(self, found: list[Json]) -> list[Json]:
        """Of what is told of progress in RTVI, the words."""
        text = " ".join(one["data"]["text"] for one in found if one["type"] == "bot-tts-text")
        start, now = self._until, self._now_ms()
        told = self._transcript("output", text, start, now)
        self._until = now if told else start
        return told

    def _transcript(self, kind: str, text: str, start_ms: int, end_ms: int) -> list[Json]:
        if not text:
            return []
        delta = f" {text}" if kind in self._transcribed else text
        self._transcribed.add(kind)
        return [server_event(f"session.{kind}_transcript.delta", delta=delta, start_ms=start_ms, end_ms=end_ms)]

    # ------------------------------------------------------------------------------------------------ shapes

    def _now_ms(self) -> int:
        return milliseconds(self._clock.now() - self._began)

    def _usage(self) -> Json:
        """Nothing is billed here: whole seconds that the session has lasted."""
        return {"seconds": float(self._now_ms() // 1000)}

    def _session_event(self, kind: str) -> Json:
        answered = {} if self._client.event_id is None else {"client_event_id": self._client.event_id}
        return server_event(kind, session=self._settings.resource(), **answered)

    def _tools_missing(self) -> list[Json]:
        text = f"{self._session.engines.voice.llm.name} calls no functions"
        return [_info("tools_not_taken", text)] if self._settings.misses_tools else []


def _info(code: str, message: str) -> Json:
    return server_event("info", code=code, message=message)


def _keep(kept: dict[str, Any], name: str, value: object) -> None:
    kept[name] = value
    while len(kept) > MOST_FOLLOWED:
        del kept[next(iter(kept))]
