"""What a client of Live says, carried out on its session.

An event that is not understood, or not served, is answered by one ``error`` and changes nothing. Items and requests for
a response are those of OpenAI Realtime by other names, so that there is one implementation of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipelines.assistant.events import Event as SessionEvent
from pipelines.errors import listed
from pipelines.voice.events import (
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    SpeechDropped,
    TranscriptFailed,
    UserTurn,
)
from pipelines.voice.history import Item, new_id
from pipelines.voice.responses import Wish
from server.dialects.live.models import UNSERVED, Append, Event, ItemCreate, SessionUpdate
from server.dialects.live.settings import LiveSettings
from server.dialects.openai.client_events import LARGEST_EVENT, RealtimeClient
from server.dialects.openai.fields import LONGEST_EVENT_ID
from server.dialects.openai.settings import LONGEST_SHOWN, RefusedError, refusal
from server.dialects.openai.shapes import Json, server_event
from server.dialects.openai.shapes import error_event as realtime_error
from server.http.json_input import JsonInputError, read_json_object

CLOSE_REQUESTED = "the client has closed the session"
"""Why a session ends upon ``session.close``."""
COMMENT = "[Tell the user what you have just been told.]"
"""What a model is told for a commentary, beside the commentary itself."""


class LiveClient:
    """Carries out one client's events; answers go to ``send``. ``now_ms`` is the place on the session's timeline, and
    ``leave`` is called with the reason when the client wants the session to end."""

    def __init__(
        self,
        settings: LiveSettings,
        send: Callable[[Json], None],
        now_ms: Callable[[], int],
        leave: Callable[[str], object],
    ) -> None:
        self.event_id: str | None = None
        """Of the event that is being carried out."""
        self._session = session = settings.session
        self._conversation = session.conversation
        self._settings = settings
        self._send = send
        self._now_ms = now_ms
        self._owes_comment = False
        """Whether a commentary waits for the end of a response that is being generated."""
        self._realtime = RealtimeClient(
            session.conversation, session.vision, settings.served, self._answered, session.settings_changed
        )
        self._handlers: dict[str, tuple[type[Event], Callable[[Any], object]]] = {
            "session.update": (SessionUpdate, self._update),
            "session.input_audio.mute": (Event, lambda event: self._mute(muted=True)),
            "session.input_audio.unmute": (Event, lambda event: self._mute(muted=False)),
            "session.instructions.append": (Append, self._append),
            "session.commentary.append": (Append, self._comment),
            "response.item.create": (ItemCreate, self._add),
            "response.create": (Event, lambda event: self._ask({"type": "response.create"})),
            "session.close": (Event, lambda event: leave(CLOSE_REQUESTED)),
        }

    def receive(self, message: str | bytes) -> None:
        """One message of the data channel."""
        self.event_id = None
        try:
            if len(message) > LARGEST_EVENT:  # of a text these are characters, which is near enough
                raise RefusedError("", f"an event may have {LARGEST_EVENT} bytes", "event_too_large")
            data = read_json_object(message, "an event")
            event_id = data.get("event_id")
            self.event_id = event_id if isinstance(event_id, str) and len(event_id) <= LONGEST_EVENT_ID else None
            self._carry_out(data)
        except JsonInputError as wrong:
            self._refuse(RefusedError("", str(wrong), wrong.code))
        except RefusedError as wrong:
            self._refuse(wrong)

    def _carry_out(self, data: dict[str, Any]) -> None:
        kind = data.get("type")
        shown = ascii(kind)[:LONGEST_SHOWN]
        if isinstance(kind, str) and kind in UNSERVED:
            raise RefusedError("type", f"type: {kind} is not served: {UNSERVED[kind]}", "not_served")
        if not isinstance(kind, str) or kind not in self._handlers:
            served = listed(sorted(self._handlers))
            raise RefusedError("type", f"type: unknown event type {shown}; served are {served}", "unknown_event")
        model, handle = self._handlers[kind]
        try:
            event = model.model_validate(data)
        except ValidationError as wrong:
            raise refusal(wrong, data, tagged=False) from wrong
        handle(event)

    def _refuse(self, wrong: RefusedError) -> None:
        self._send(error_event(wrong.code, str(wrong), wrong.param, self.event_id))

    # ------------------------------------------------------------------------------------------------ the session

    def _update(self, event: SessionUpdate) -> None:
        if event.session.delegation is not None:
            self._settings.update(event.session.delegation)
        self._session.settings_changed()

    def _mute(self, *, muted: bool) -> None:
        self._conversation.configure(replace(self._conversation.settings, muted=muted))
        self._acknowledge("session.input_audio.muted" if muted else "session.input_audio.unmuted")

    def _append(self, event: Append) -> None:
        self._conversation.add(Item(new_id("item"), "system", event.content))
        now = self._now_ms()
        self._acknowledge(f"{event.type}ed", start_ms=now, end_ms=now)

    def _comment(self, event: Append) -> None:
        """What the assistant is to tell the user; told behind what is being said."""
        self._append(event)
        self._owes_comment = True
        self._tell_comment()

    def observe(self, event: SessionEvent) -> None:
        """What has happened: a commentary that has waited for a response is told behind it.

        Where the user has cut that response off, the answer to the user goes first.
        """
        match event:
            case ResponseGenerated() | ResponseFailed() | UserTurn() | TranscriptFailed() | SpeechDropped():
                self._tell_comment()
            case ResponseInterrupted(reason="client_cancelled"):
                self._tell_comment()

    def leave(self) -> None:
        """The session has ended: a commentary that still waits will not be told."""
        self._owes_comment = False

    def _tell_comment(self) -> None:
        if self._owes_comment and not self._conversation.answering:
            self._owes_comment = False
            self._conversation.respond(Wish(note=COMMENT))

    def _acknowledge(self, kind: str, **fields: int) -> None:
        answered = {} if self.event_id is None else {"client_event_id": self.event_id}
        self._send(server_event(kind, **fields, **answered))

    # ------------------------------------------------------------------------------------------------ Responses

    def _add(self, event: ItemCreate) -> None:
        self._ask({"type": "conversation.item.create", "item": _realtime_item(event.item)})

    def _ask(self, event: Json) -> None:
        """Have Realtime's client do it."""
        if not self._settings.delegates:
            message = 'type: only a session whose delegation is of type "responses" can be asked for this'
            raise RefusedError("type", message, "delegation_required")
        self._realtime.receive(json.dumps(event))

    def _answered(self, answer: Json) -> None:
        """Realtime's client refuses; items and responses are told otherwise."""
        if answer["type"] == "error":
            wrong = answer["error"]
            self._refuse(RefusedError(wrong.get("param", ""), wrong["message"], wrong["code"]))


def error_event(code: str, message: str, param: str = "", event_id: str | None = None, *, ours: bool = False) -> Json:
    """An ``error``, of ours or of the client's event with the id ``event_id``."""
    kind = "server_error" if ours else "invalid_request_error"
    event = realtime_error(code, message, param=param or None, kind=kind)
    if event_id is not None:
        event["error"]["client_event_id"] = event_id
    return event


def _realtime_item(item: Mapping[str, Any]) -> Json:
    """An item of the Responses API as Realtime has it: a message needs no type, and its text need not be in parts."""
    if item.get("type", "message") != "message":
        return dict(item)
    role = "system" if item.get("role") == "developer" else item.get("role")
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    return {**item, "type": "message", "role": role, "content": content}
