"""Answers that say that a language model does not know, told by how they begin. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, Piece

REFUSALS = (
    "I do not know",
    "I don't know",
    "I don\N{RIGHT SINGLE QUOTATION MARK}t know",
    "I am not sure",
    "I'm not sure",
    "I\N{RIGHT SINGLE QUOTATION MARK}m not sure",
    "I have no information",
    "I cannot answer",
    "I can't answer",
    "I can\N{RIGHT SINGLE QUOTATION MARK}t answer",
    "I am unable to answer",
    "I'm unable to answer",
    "As an AI",
    "I'm just an AI",
)
"""How answers begin with which language models say that they do not know, in English."""


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
                if not self.may_begin(held):
                    yield held
                    held = None
        if held:
            yield held

    def may_begin(self, text: str) -> bool:
        """Whether an answer of which only ``text`` is known may still turn out to pass the question on."""
        return any(beginning.startswith(text.lstrip()) for beginning in self._beginnings)


def last_said(request: ChatRequest) -> str:
    """What the user said last."""
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")
