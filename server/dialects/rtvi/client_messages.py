"""What an RTVI client says, carried out on its conversation.

A message that is not understood is answered by one ``error-response`` (or ``error``, if it has no id) and changes
nothing. ``client-message`` carries requests of the application: here they are the client events of OpenAI Realtime,
with ``t`` for their type and ``d`` for their other fields, so that both dialects share one implementation of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipelines.assistant.events import Event
from pipelines.errors import listed
from pipelines.interfaces.llm import Image, takes_images
from pipelines.voice.conversation import Conversation
from pipelines.voice.history import Item, new_id
from pipelines.voice.responses import Wish
from server.dialects.openai.client_events import LARGEST_EVENT, RealtimeClient, Video
from server.dialects.openai.items import read_image
from server.dialects.openai.models import SERVED
from server.dialects.openai.settings import Served
from server.dialects.rtvi.function_calls import FunctionCalls
from server.dialects.rtvi.models import (
    AppendToContext,
    ClientMessage,
    ClientReady,
    FunctionCallResult,
    Message,
    Options,
    SendFile,
    SendText,
    problem,
)
from server.dialects.rtvi.shapes import (
    SIGNALLING,
    VERSION,
    Json,
    bot_ready,
    error,
    error_response,
    server_response,
)
from server.http.json_input import JsonInputError, read_json_object

SESSION_GET = "session.get"
"""The ``t`` of a request for the settings in effect."""
PING = "ping"
"""What the text begins with that keeps the SmallWebRTC transport's channel alive, and is not JSON."""
_IGNORED = ("ui-event", "ui-snapshot", "ui-cancel-job-group")
"""Told by pages that an application of Pipecat's could look at; nothing here does."""
_UNSERVED = {
    "dtmf": "there is no telephone keypad to listen to here",
    "raw-audio": "audio is taken from the audio track",
    "raw-audio-batch": "audio is taken from the audio track",
}
"""Kinds of messages that are refused, the first time with the reason."""


class RtviClient:
    """Carries out one client's messages; answers go to ``send``.

    ``in_effect`` tells the session's settings as JSON, ``updated`` is called when they have changed, and ``leave`` when
    the client wants the assistant gone.
    """

    def __init__(
        self,
        conversation: Conversation,
        video: Video,
        served: Served,
        send: Callable[[Json], None],
        in_effect: Callable[[], Json],
        updated: Callable[[], None],
        leave: Callable[[], object],
    ) -> None:
        self.message_id: str | None = None
        """Of the message that is being carried out."""
        self._conversation = conversation
        self._send = send
        self._in_effect = in_effect
        self._leave = leave
        self._answers: list[Json] = []
        """What the realtime event that is being carried out was answered."""
        self._realtime = RealtimeClient(conversation, video, served, self._answers.append, updated)
        self._functions = FunctionCalls(conversation)
        self._told: set[str] = set()
        """Kinds of messages of which it has been told that they are not served."""
        self._handlers: dict[str, Callable[[Any], object]] = {
            "client-ready": self._ready,
            "client-message": self._request,
            "send-text": self._text,
            "send-file": self._file,
            "append-to-context": self._append,
            "llm-function-call-result": self._result,
            "disconnect-bot": lambda data: self._leave(),
        }

    def receive(self, text: str | bytes) -> None:
        """One message of the data channel."""
        self.message_id = None
        if isinstance(text, str) and text.startswith(PING):
            return
        if len(text) > LARGEST_EVENT:  # of a text these are characters, which is near enough
            self._refuse(f"a message may have {LARGEST_EVENT} bytes")
            return
        try:
            data = read_json_object(text, "a message")
            if data.get("type") == SIGNALLING and "label" not in data:
                return  # of which tracks are sent; what arrives on them tells that, too
            given = Message.model_validate(data)
        except JsonInputError as problem_:
            self._refuse(str(problem_))
        except ValidationError as problem_:
            self._refuse(problem(problem_, ""))
        else:
            self.message_id = given.id
            self._carry_out(given)

    def _carry_out(self, given: Message) -> None:
        handler = self._handlers.get(given.type)
        if handler is None:
            self._unserved(given.type)
            return
        try:
            handler(given.data or {})
        except ValidationError as problem_:
            self._refuse(problem(problem_))

    def _unserved(self, kind: str) -> None:
        if kind in _IGNORED:
            return
        if kind not in _UNSERVED:
            self._refuse(f"type: unknown type {kind!r}; served are {listed(sorted(self._handlers))}")
        elif kind not in self._told:
            self._told.add(kind)
            self._refuse(f"type: {kind} is not served: {_UNSERVED[kind]}")

    def observe(self, event: Event) -> None:
        """What has happened in the session."""
        self._functions.observe(event)

    def _refuse(self, text: str) -> None:
        self._send(error(text) if self.message_id is None else error_response(self.message_id, text))

    # ------------------------------------------------------------------------------------------------ messages

    def _ready(self, data: Any) -> None:
        version = ClientReady.model_validate(data).version
        if version.partition(".")[0] != VERSION.partition(".")[0]:
            shown = f"RTVI {version}" if version else "an RTVI version that it does not tell"
            self._refuse(f"data.version: the client speaks {shown}, this server {VERSION}: some messages will differ")
        assert self.message_id is not None
        self._send(bot_ready(self.message_id))

    def _text(self, data: Any) -> None:
        given = SendText.model_validate(data)
        self._add("user", given.content, given.options or Options())

    def _file(self, data: Any) -> None:
        given = SendFile.model_validate(data)
        llm = self._conversation.llm
        if not takes_images(llm):
            self._refuse(f"data.file: {llm.name} takes no pictures")
            return
        try:
            image = read_image(given.uri)
        except ValueError as reason:
            self._refuse(f"data.file.source.bytes: {reason}")
        else:
            self._add("user", given.content, given.options or Options(), (image,))

    def _append(self, data: Any) -> None:
        given = AppendToContext.model_validate(data)
        self._add(given.role, given.content, Options(run_immediately=bool(given.run_immediately)))

    def _add(self, role: Any, text: str, options: Options, images: tuple[Image, ...] = ()) -> None:
        conversation = self._conversation
        if options.run_immediately:
            conversation.responses.interrupt("client_cancelled")
        conversation.add(Item(new_id("item"), role, text, images=images))
        if options.run_immediately:
            silent = replace(conversation.settings, spoken=False)
            conversation.respond(Wish(None if options.audio_response else silent))

    def _result(self, data: Any) -> None:
        given = FunctionCallResult.model_validate(data)
        if wrong := self._functions.result(given.tool_call_id, given.output):
            self._refuse(f"data.tool_call_id: {wrong}")

    # ------------------------------------------------------------------------------------------------ requests

    def _request(self, data: Any) -> None:
        """A ``client-message``; every one of them is answered once."""
        given = ClientMessage.model_validate(data)
        message_id = self.message_id
        assert message_id is not None
        if given.t == SESSION_GET:
            self._send(server_response(message_id, given.t, {"session": self._in_effect()}))
        elif given.t not in SERVED:
            self._refuse(f"data.t: unknown request {given.t!r}; served are {listed((SESSION_GET, *SERVED))}")
        else:
            self._realtime_event(message_id, given)

    def _realtime_event(self, message_id: str, given: ClientMessage) -> None:
        self._answers.clear()
        self._realtime.receive(json.dumps({**(given.d or {}), "type": given.t}))
        answers = list(self._answers)
        failed = [answer["error"]["message"] for answer in answers if answer["type"] == "error"]
        if failed:
            self._send(error_response(message_id, "; ".join(failed)))
            return
        answered: Json = {"session": self._in_effect()} if given.t == "session.update" else {}
        for answer in answers:
            answered |= {name: value for name, value in answer.items() if name not in ("type", "event_id")}
        self._send(server_response(message_id, given.t, answered))
