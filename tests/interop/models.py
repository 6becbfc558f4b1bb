"""Language models of these tests, beside :class:`tests.fakes.engines.FakeModel`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pipelines.interfaces.llm import ChatRequest, Piece
from tests.fakes.engines import FakeModel


class UnendingModel(FakeModel):
    """Never comes to the end of its first answer."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        async for word in super().stream(request):
            yield word
        if len(self.requests) == 1:
            yield "And "
            await asyncio.Event().wait()


class SeeingModel(FakeModel):
    """Takes pictures."""

    takes_images = True


class CallingModel(FakeModel):
    """Gives the next of these answers, of words and calls of tools."""

    def __init__(self, *answers: tuple[Piece, ...]) -> None:
        super().__init__()
        self._pieces = list(answers)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self._pieces.pop(0):
            yield piece
