"""A small language model behind better ones: when it does not know, it tells the truth about those."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pipelines.interfaces.llm import ChatRequest, LanguageModel, Piece, takes_images, takes_tools
from pipelines.routing.passing import PassedOnError, Passes


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
