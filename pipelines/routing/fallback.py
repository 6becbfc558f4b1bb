"""When an engine fails, the next one answers: the conversation goes on, and the reason is told.

Voices do the same in :mod:`pipelines.routing.fallback_voice`, recognisers in :mod:`pipelines.routing.fallback_stt`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from media.clock import Clock
from pipelines.errors import PipelineError, ThinkError, guarded
from pipelines.ports import ChatRequest, LanguageModel, ToolCall, takes_images, takes_tools
from pipelines.routing.backoff import REST_SECONDS, Ladder, OnFailure, successors


class FallbackModel:
    """Language models in order of preference.

    A model that fails before its first word hands the request to the next, and is left alone for ``rest_seconds`` (and
    twice as long after each further failure, up to a minute), so that a dead server does not cost every turn its
    timeout. After a first word has been given there is no going back: the failure is raised, for the user has heard
    half an answer.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        on_failure: OnFailure,
        clock: Clock | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._ladder = Ladder([model.name for model in models], on_failure, clock, rest_seconds)
        self._models = tuple(models)
        self.name = models[0].name
        self.forwarded = self._ladder.forwarded
        """How often a request was handed on, by the names of who failed or rests and who was next."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Yield the answer of the first model that gives one. Raises what the last one raised."""
        for place, successor in successors(self._ladder.order()):
            begun = False
            try:
                async with aclosing(_answer(self._models[place], request)) as pieces:
                    async for piece in pieces:
                        begun = begun or bool(piece)
                        yield piece
            except PipelineError as error:
                self._ladder.failed(place, error, None if begun else successor)
                if begun or successor is None:
                    raise
            else:
                self._ladder.worked(place)
                return

    @property
    def current(self) -> str:
        """The name of the engine that is asked next: the first that does not rest."""
        return self._ladder.current

    @property
    def takes_images(self) -> bool:
        """Whether the model that is asked next looks at pictures."""
        return takes_images(self._next)

    @property
    def takes_tools(self) -> bool:
        """Whether the model that is asked next can be offered tools."""
        return takes_tools(self._next)

    @property
    def _next(self) -> LanguageModel:
        return next(model for model in self._models if model.name == self.current)

    async def close(self) -> None:
        """Close every model."""
        for model in self._models:
            await model.close()


def _answer(model: LanguageModel, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
    return guarded(lambda: model.stream(request), ThinkError, "llm_failed", model.name)
