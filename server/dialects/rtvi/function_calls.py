"""Functions that the client runs: their results are taken, and answered once all that were asked for are there.

In RTVI the server goes on by itself when a result comes; OpenAI Realtime's clients ask for the response.
"""

from __future__ import annotations

from collections import deque

from pipelines.assistant.events import Event
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import (
    FunctionAdded,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
)
from pipelines.voice.history import FunctionCall, FunctionResult, new_id

MOST_WAITED_FOR = 16
"""Responses whose calls are waited for; of older ones results are remembered, and not answered."""


class FunctionCalls:
    """Is given all events of the session, and the results."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._waited_for: deque[set[str]] = deque(maxlen=MOST_WAITED_FOR)
        """Ids of the calls that lack a result, by the response that made them."""
        self._owed = False
        """Whether an answer to results is due."""

    def observe(self, event: Event) -> None:
        """What has happened."""
        match event:
            case ResponseGenerated() if event.calls:
                self._waited_for.append({item.call.id for item in event.calls})
            case FunctionAdded(FunctionResult(call_id=call_id)):
                self._has_come(call_id)
            case ResponseStarted(kept=True):
                self._owed = False  # it knows what has come by now
        if isinstance(event, ResponseGenerated | ResponseInterrupted | ResponseFailed) and self._owed:
            self._answer()

    def result(self, call_id: str, output: str) -> str:
        """A result from the client; returns what is wrong with it, if anything is."""
        conversation = self._conversation
        items = conversation.history.items
        if not any(isinstance(item, FunctionCall) and item.call.id == call_id for item in items):
            return f"nothing was called as {call_id!r}"
        if any(isinstance(item, FunctionResult) and item.call_id == call_id for item in items):
            return f"{call_id!r} has its result already"
        conversation.add(FunctionResult(new_id("item"), call_id, output))
        return ""

    def _has_come(self, call_id: str) -> None:
        for waited_for in self._waited_for:
            if call_id in waited_for:
                waited_for.remove(call_id)
                if not waited_for:
                    self._answer()

    def _answer(self) -> None:
        self._owed = self._conversation.answering
        if not self._owed:
            self._conversation.respond()
