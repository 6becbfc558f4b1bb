"""A response of ours as the Responses API streams it, inside of ``response.event``. Pure.

With ``delegation.type`` ``responses`` the assistant is its own backend: each of its responses is told as a delegation.
What it says is told as a whole when it has been generated; the words as they are heard are the output transcript.
"""

from __future__ import annotations

from typing import Any

from pipelines.voice.events import ResponseFailed, ResponseGenerated, ResponseInterrupted
from pipelines.voice.history import FunctionCall, new_id
from server.dialects.openai.shapes import Json, server_event

Outcome = ResponseGenerated | ResponseInterrupted | ResponseFailed


class Delegated:
    """One response; ``created`` are Unix seconds."""

    def __init__(self, response_id: str, item_id: str, model: str, created: int) -> None:
        self._id = new_id("delegation")
        self._response_id = response_id
        self._item_id = item_id
        self._model = model
        self._created = created
        self._told = 0
        """Events so far."""

    def started(self, offset_ms: int) -> list[Json]:
        """The first events of it."""
        delegation = {"id": self._id, "type": "delegation", "target": "responses", "response_id": self._response_id}
        created = server_event("session.delegation.created", delegation=delegation, offset_ms=offset_ms)
        return [created, self._event("response.created", response=self._response("in_progress"))]

    def ended(self, outcome: Outcome) -> list[Json]:
        """All the others."""
        match outcome:
            case ResponseInterrupted():
                return [self._event("response.incomplete", response=self._response("cancelled"))]
            case ResponseFailed():
                error = {"code": "server_error", "message": outcome.error.message}
                return [self._event("response.failed", response=self._response("failed", error=error))]
            case ResponseGenerated():
                return self._generated(outcome)

    def _generated(self, outcome: ResponseGenerated) -> list[Json]:
        told = self._message(outcome.text, "incomplete" if outcome.cut else "completed") if outcome.text else []
        for index, call in enumerate(outcome.calls, start=bool(outcome.text)):
            told += self._call(call, index)
        if outcome.cut:
            cut = self._response("incomplete", incomplete_details={"reason": "max_output_tokens"})
            return [*told, self._event("response.incomplete", response=cut)]
        return [*told, self._event("response.completed", response=self._response("completed"))]

    def _message(self, text: str, status: str) -> list[Json]:
        place: Json = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        item: Json = {"id": self._item_id, "type": "message", "role": "assistant"}
        part: Json = {"type": "output_text", "annotations": []}
        done = {**part, "text": text}
        begun, ended = {**item, "status": "in_progress", "content": []}, {**item, "status": status, "content": [done]}
        return [
            self._event("response.output_item.added", output_index=0, item=begun),
            self._event("response.content_part.added", **place, part={**part, "text": ""}),
            self._event("response.output_text.delta", **place, delta=text, logprobs=[]),
            self._event("response.output_text.done", **place, text=text, logprobs=[]),
            self._event("response.content_part.done", **place, part=done),
            self._event("response.output_item.done", output_index=0, item=ended),
        ]

    def _call(self, given: FunctionCall, index: int) -> list[Json]:
        call, place = given.call, {"item_id": given.id, "output_index": index}
        item: Json = {"id": given.id, "type": "function_call", "call_id": call.id, "name": call.name}
        begun = {**item, "status": "in_progress", "arguments": ""}
        done = {**item, "status": "completed", "arguments": call.arguments}
        kind = "response.function_call_arguments"
        return [
            self._event("response.output_item.added", output_index=index, item=begun),
            self._event(f"{kind}.delta", **place, delta=call.arguments),
            self._event(f"{kind}.done", **place, arguments=call.arguments),
            self._event("response.output_item.done", output_index=index, item=done),
        ]

    def _response(self, status: str, **fields: Any) -> Json:
        """A snapshot, which holds no content: messages stay small."""
        about: Json = {"id": self._response_id, "object": "response", "created_at": self._created, "status": status}
        usual: Json = {"model": self._model, "output": [], "tools": [], "tool_choice": "auto"}
        return {**about, **usual, "parallel_tool_calls": True, **fields}

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._told, **fields}
        self._told += 1
        return server_event("response.event", delegation_id=self._id, event=event)
