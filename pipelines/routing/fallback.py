"""When an engine fails, the next one answers: the conversation goes on, and the reason is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from pipelines.errors import PipelineError
from pipelines.ports import ChatRequest, LanguageModel, ToolCall


class FallbackModel:
    """Language models in order of preference.

    A model that fails before its first word hands the request to the next. After a first word has been given there is
    no going back: the failure is raised, for the user has heard half an answer.
    """

    def __init__(self, models: Sequence[LanguageModel], on_failure: Callable[[str, PipelineError], None]) -> None:
        if not models:
            raise ValueError("at least one model")
        self._models = tuple(models)
        self._on_failure = on_failure
        self.name = models[0].name
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """How often a request was handed on, by the names of who failed and who was next."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Yield the answer of the first model that gives one. Raises what the last one raised."""
        for model, successor in zip(self._models, (*self._models[1:], None), strict=True):
            begun = False
            try:
                async with aclosing(model.stream(request)) as pieces:
                    async for piece in pieces:
                        begun = begun or bool(piece)
                        yield piece
                return
            except PipelineError as error:
                self._on_failure(model.name, error)
                if begun or successor is None:
                    raise
                self.forwarded[model.name, successor.name] += 1

    async def close(self) -> None:
        """Close every model."""
        for model in self._models:
            await model.close()
