"""A language model's answer on its way to a client: where it ends, why, what it cost, and how that is written."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

from pipelines.errors import LLMError, guarded
from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, ToolCall, Usage
from pipelines.voice.context import approximate_tokens

Finish = Literal["stop", "length", "tool_calls"]


class StopText:
    """A text in pieces, up to the first of ``words`` in it."""

    def __init__(self, words: Sequence[str]) -> None:
        self.stopped = False
        self._words = tuple(words)
        self._held = ""

    def push(self, text: str) -> str:
        """What is certain to be before the first of the words."""
        text = self._held + text
        places = [place for word in self._words if (place := text.find(word)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        kept = max((n for word in self._words for n in range(1, len(word)) if text.endswith(word[:n])), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """The text has ended: what was kept because it might have been the beginning of a word."""
        held, self._held = self._held, ""
        return held


class ChatAnswer:
    """One answer. ``parallel``: whether it may call several tools at once."""

    def __init__(
        self, model: LanguageModel, request: ChatRequest, stop: Sequence[str] = (), *, parallel: bool = True
    ) -> None:
        self.finish: Finish = "stop"
        self._model = model
        self._request = replace(request, on_usage=self._take_usage, on_logprobs=self._take_logprobs)
        self._logprobs = list[dict[str, Any]]()  # that have not been told yet
        self._stop = StopText(stop)
        self._parallel = parallel
        self._told: Usage | None = None
        self._said = 0  # approximate tokens of all pieces
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    async def pieces(self) -> AsyncGenerator[str | ToolCall, None]:
        """Yield the text and the calls. Closing it stops the model. Raises what the model raises."""
        source = guarded(lambda: self._model.stream(self._request), LLMError, "llm_failed", self._model.name)
        async with aclosing(source) as pieces:
            async for piece in pieces:
                if isinstance(piece, ToolCall):
                    self.finish = "tool_calls"
                    self._said += approximate_tokens(piece.arguments)
                    yield piece
                    if not self._parallel:
                        return
                elif isinstance(piece, Cut):
                    self.finish = "length"
                else:
                    self._said += -(-len(piece.encode(errors="replace")) // 4)
                    if text := self._stop.push(piece):
                        yield text
                    if self._stop.stopped:
                        return
        if rest := self._stop.flush():
            yield rest

    def _take_usage(self, usage: Usage) -> None:
        """Of one round: one that has the server's tools run has several."""
        before = self._told or Usage(0, 0, 0)
        self._told = Usage(before.prompt + usage.prompt, before.cached + usage.cached, before.answer + usage.answer)

    def _take_logprobs(self, tokens: list[dict[str, Any]]) -> None:
        self._logprobs += tokens

    def _told_logprobs(self) -> dict[str, Any] | None:
        """Of the tokens since the last time; ``None`` where nobody asks."""
        if self._request.top_logprobs is None:
            return None
        told, self._logprobs = self._logprobs, []
        return {"content": told, "refusal": None}

    def usage(self) -> dict[str, Any]:
        """What it cost: as the engine tells; where it does not, estimated from the length of the texts."""
        prompt = sum(approximate_tokens(message.content) for message in self._request.messages)
        told = self._told or Usage(prompt, 0, self._said)
        return {
            "prompt_tokens": told.prompt,
            "completion_tokens": told.answer,
            "total_tokens": told.prompt + told.answer,
            "prompt_tokens_details": {"cached_tokens": told.cached},
        }

    def completion(self, text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
        """The whole answer as one object."""
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
        if calls:
            message["tool_calls"] = [call_json(call) for call in calls]
        choice = {"index": 0, "message": message, "logprobs": self._told_logprobs(), "finish_reason": self.finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage()}

    def chunk(self, delta: dict[str, Any], finish: Finish | None = None) -> dict[str, Any]:
        """A piece of the answer as one event."""
        logprobs = None if "role" in delta else self._told_logprobs()  # the first event has no tokens yet
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def last_chunk(self) -> dict[str, Any]:
        """The event that tells the cost."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model.name}


def call_json(call: ToolCall) -> dict[str, Any]:
    """A call as the protocol writes it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
