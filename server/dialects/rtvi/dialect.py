"""RTVI for one session: its bus in the words of Pipecat's clients, and their words carried out on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC

from media.clock import Clock, local_time
from pipelines.assistant.events import EnginesChanged, Event, SessionDegraded, SettingsChanged
from pipelines.assistant.session import AssistantSession
from server.dialects.openai.dialect import session_in_effect
from server.dialects.openai.settings import Served
from server.dialects.openai.shapes import degraded_event, server_event, status_event
from server.dialects.openai.wire import messages
from server.dialects.rtvi.client_messages import RtviClient
from server.dialects.rtvi.server_messages import RtviMessages
from server.dialects.rtvi.shapes import Json, error, error_response, peer_left, server_message

PART = "the messages for the client"
"""What this is called when it fails."""
PROGRESS_SECONDS = 0.1
"""Between two looks at how far a response has been heard."""
LEFT = "the client has sent the assistant away"
"""Why a session ends upon ``disconnect-bot``: that is no error to tell."""


class RtviDialect:
    """A subscriber of the session's bus. Messages go to ``send``; ``codec`` tells in which the video goes back, and
    ``leave`` is called with the reason when the client wants the session to end."""

    def __init__(
        self,
        session: AssistantSession,
        served: Served,
        send: Callable[[Json], None],
        codec: Callable[[], str | None],
        clock: Clock,
        leave: Callable[[str], object],
    ) -> None:
        self._session = session
        self._served = served
        self._send = send
        self._codec = codec
        self._clock = clock
        self._inbox = session.events.subscribe()
        self._sounding = asyncio.Event()
        """Set while a response is being heard."""
        self._messages = RtviMessages(lambda: session.conversation.settings.transcripts, self._engines, _time_of_day)
        self._client = RtviClient(
            session.conversation,
            session.vision,
            served,
            self._answer,
            self._in_effect,
            session.settings_changed,
            lambda: leave(LEFT),
        )

    # ------------------------------------------------------------------------------------------------ out

    async def run(self) -> None:
        """Tell the client what happens, until the session ends."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow())
            async for event in self._inbox:
                self._send_all(self._told(event))
            following.cancel()

    def greeting(self) -> list[Json]:
        """Nothing: the client speaks first (``client-ready``)."""
        return []

    def refusal(self, code: str, message: str) -> Json:
        """Something of the client was not let through to here."""
        return error(message)

    def failure(self, what: str, *, answers: bool) -> Json:
        """The server has failed at ``what``; ``answers``: at the message that is being received."""
        text = f"the server failed at {what}; its log has the details"
        message_id = self._client.message_id if answers else None
        return error(text) if message_id is None else error_response(message_id, text)

    def farewell(self, reason: str) -> list[Json]:
        """What has not been told yet, and that the session ends. A client disconnects by itself upon a fatal error."""
        told = [] if reason == LEFT else [error(f"the session has ended: {reason}", fatal=True)]
        return [*self._rest(), peer_left(), *told]

    def messages(self, event: Json, largest: int) -> list[str]:
        """The event as messages of at most ``largest`` bytes; none when it cannot be made that small."""
        return messages(event, largest)

    # ------------------------------------------------------------------------------------------------ in

    def receive(self, message: str | bytes) -> None:
        """What the client says."""
        self._client.receive(message)

    def _answer(self, answer: Json) -> None:
        """Answers keep their place behind what has happened before."""
        self._send_all(self._rest())
        self._send(answer)

    # ------------------------------------------------------------------------------------------------ inside

    async def _follow(self) -> None:
        """Tell how far the response has been heard, while one is: the bus tells only its beginning and its end."""
        while True:
            await self._sounding.wait()
            self._send_all(self._rest())  # so that what is heard is of the response that is known to sound
            self._send_all(self._messages.heard(self._session.conversation.responses.heard))
            await self._clock.sleep(PROGRESS_SECONDS)

    def _rest(self) -> list[Json]:
        return [told for event in self._inbox.take() for told in self._told(event)]

    def _send_all(self, events: list[Json]) -> None:
        for event in events:
            self._send(event)

    def _told(self, event: Event) -> list[Json]:
        """The messages for one event; none for one that the translation fails at, which is told once."""
        told = self._session.optional.call(PART, self._translate, event) or []
        self._session.optional.call(PART, self._client.observe, event)
        if self._messages.sounding is None:
            self._sounding.clear()
        else:
            self._sounding.set()
        return told

    def _translate(self, event: Event) -> list[Json]:
        match event:
            case SettingsChanged():
                return [server_message(server_event("session.updated", session=self._in_effect()))]
            case EnginesChanged():
                return [server_message(status_event(self._served.status()))]
            case SessionDegraded():
                return [server_message(degraded_event(event))]
            case _:
                return self._messages.translate(event)

    def _in_effect(self) -> Json:
        return session_in_effect(self._session, self._served, self._codec())

    def _engines(self) -> dict[str, str]:
        voice = self._session.engines.voice
        return {"stt": voice.stt.name, "llm": voice.llm.name, "tts": voice.tts.name}


def _time_of_day() -> str:
    return local_time().astimezone(UTC).isoformat(timespec="milliseconds")
