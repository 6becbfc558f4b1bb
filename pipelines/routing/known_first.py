"""Two language models as one: a small one that says so when it does not know, and a larger one that is asked then.

The small one answers at once what it knows (the camera, names, sums, tools) and begins every other answer with one of a
few sentences. Its words are held back for as long as they may still become such a sentence, a few tokens, so nothing of
it is heard when the larger one takes over. Some questions stay with it all the same: those to which it is right to say
that one does not know.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from pipelines.ports import ChatRequest, LanguageModel, ToolCall
from pipelines.routing.fallback import Probed


class ProbedModel(LanguageModel, Probed, Protocol):
    """A model that can be asked whether it works."""


class KnownFirst:
    """Implements :class:`~pipelines.ports.LanguageModel`.

    ``passes`` are the beginnings of answers with which ``small`` passes a question on, unless what the user said last
    matches ``keeps``.
    """

    takes_images = False

    def __init__(
        self, small: LanguageModel, large: ProbedModel, passes: Sequence[str], keeps: re.Pattern[str] | None = None
    ) -> None:
        if not passes:
            raise ValueError("at least one sentence that passes a question on")
        self.small = small
        self.large = large
        self.name = f"{large.name}, {small.name} first"
        self.passed = 0
        """Questions that were passed on."""
        self._passes = tuple(passes)
        self._keeps = keeps

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Yield the answer of whoever knows. Raises what that one raises, or the small one if the large one cannot."""
        held: str | None = None if self._is_kept(request) else ""
        async with aclosing(self.small.stream(request)) as pieces:
            async for piece in pieces:
                if held is None or isinstance(piece, ToolCall):
                    yield piece
                    held = None
                    continue
                held += piece
                if self._is_passed(held):
                    break
                if not self._may_pass(held):
                    yield held
                    held = None
        if held is None:
            return
        if not self._is_passed(held):
            if held:
                yield held
            return
        self.passed += 1
        async with aclosing(self.large.stream(self._for_large(request))) as pieces:
            async for piece in pieces:
                yield piece

    async def probe(self) -> None:
        """Find out whether the large one works. Raises what that one raises."""
        await self.large.probe()

    async def close(self) -> None:
        """Close both."""
        await self.small.close()
        await self.large.close()

    def _is_kept(self, request: ChatRequest) -> bool:
        said = next((message.content for message in reversed(request.messages) if message.role == "user"), "")
        return self._keeps is not None and self._keeps.search(said) is not None

    def _is_passed(self, text: str) -> bool:
        return any(text.lstrip().startswith(beginning) for beginning in self._passes)

    def _may_pass(self, text: str) -> bool:
        return any(beginning.startswith(text.lstrip()) for beginning in self._passes)

    def _for_large(self, request: ChatRequest) -> ChatRequest:
        """Without the answers that passed a question on."""
        messages = tuple(
            message
            for message in request.messages
            if message.role != "assistant" or not self._is_passed(message.content)
        )
        return replace(request, messages=messages)
