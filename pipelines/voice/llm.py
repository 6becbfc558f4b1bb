"""The language model's text, clause by clause as it streams in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from pipelines.ports import ChatRequest, LanguageModel, ToolCall
from pipelines.voice.sentences import ClauseSplitter


async def clauses(
    model: LanguageModel, request: ChatRequest, on_first_token: Callable[[], None]
) -> AsyncGenerator[str, None]:
    """Speakable clauses of the answer, the first one as early as it makes sense to say it.

    Closing the iterator stops generation. Raises :class:`~pipelines.errors.ThinkError`.
    """
    splitter = ClauseSplitter()
    first = True
    async with aclosing(model.stream(request)) as pieces:
        async for piece in pieces:
            if first and piece:
                first = False
                on_first_token()
            if isinstance(piece, ToolCall):
                continue  # nobody here can carry it out, and it must not be read aloud
            for clause in splitter.push(piece):
                yield clause
    for clause in splitter.flush():
        yield clause
