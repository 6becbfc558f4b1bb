"""How a small language model says that it does not know, and what is heard of it until that is certain.

Its words are held back for as long as they may still become one of a few sentences, a few tokens.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, Piece, takes_images, takes_tools


class StandIn:
    """``model`` with other words for what it does not know while it stands in for a better one.

    By itself it may say that a better one can be installed, which is not true when one is. Then it says ``away``; of
    what the better ones are not asked either (see :class:`~pipelines.routing.passing.Passes`), ``never``.
    """

    def __init__(self, model: LanguageModel, passes: Passes, *, away: str, never: str) -> None:
        self.name = model.name
        self.takes_images = takes_images(model)
        self.takes_tools = takes_tools(model)
        self._model = model
        self._passes = passes
        self._away = away
        self._never = never

    def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield its own answer. Raises what the model raises."""
        return self._model.stream(request)

    async def stand_in(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield its answer while a better model is there, and away or not asked. Raises what the model raises."""
        try:
            async with aclosing(self._passes.known(self._model, request)) as pieces:
                async for piece in pieces:
                    yield piece
        except PassedOnError:
            yield self._never if self._passes.keeps(request) else self._away

    async def close(self) -> None:
        """Close the model."""
        await self._model.close()


class PassedOnError(Exception):
    """The model does not know."""


class Passes:
    """``beginnings`` of answers with which a model passes a question on.

    To questions that match ``keeps`` it is right to say that one does not know: no other model is to be asked.
    """

    def __init__(self, beginnings: Sequence[str], keeps: re.Pattern[str] | None = None) -> None:
        if not beginnings:
            raise ValueError("at least one sentence that passes a question on")
        self._beginnings = tuple(beginnings)
        self._keeps = keeps

    def keeps(self, request: ChatRequest) -> bool:
        """Whether no other model is to be asked what the user said last."""
        return self._keeps is not None and self._keeps.search(last_said(request)) is not None

    def begin(self, text: str) -> bool:
        """Whether an answer that begins with ``text`` passes the question on."""
        return any(text.lstrip().startswith(beginning) for beginning in self._beginnings)

    async def known(self, model: LanguageModel, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """The answer of ``model``. Raises :class:`PassedOnError` before its first word when it passes."""
        held: str | None = ""
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if held is not None and isinstance(piece, Cut):
                    raise PassedOnError  # too early to tell what it would have said
                if held is None or not isinstance(piece, str):
                    yield piece
                    held = None
                    continue
                held += piece
                if self.begin(held):
                    raise PassedOnError
                if not self._may_pass(held):
                    yield held
                    held = None
        if held:
            yield held

    def _may_pass(self, text: str) -> bool:
        return any(beginning.startswith(text.lstrip()) for beginning in self._beginnings)


def last_said(request: ChatRequest) -> str:
    """What the user said last."""
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")
