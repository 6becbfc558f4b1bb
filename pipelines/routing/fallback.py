"""When an engine fails, the next one answers: the conversation goes on, and the reason is told.

Voices do the same in :mod:`pipelines.routing.fallback_voice`, recognisers in :mod:`pipelines.routing.fallback_stt`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from media.clock import Clock, MonotonicClock
from pipelines.errors import PipelineError, ThinkError, foreign_errors, guarded
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Piece, takes_images, takes_tools
from pipelines.routing.backoff import REST_SECONDS, Ladder, OnFailure, successors

PROBE_SECONDS = 1.0
"""How often is looked whether an engine that failed has rested enough to be asked again."""
LONGEST_PROBE_REST = 15.0
"""Seconds between two such questions, at most: somebody may be waiting for a server to start."""


@runtime_checkable
class Probed(Protocol):
    """An engine that can be asked whether it works, beside the requests of users."""

    async def probe(self) -> None:
        """Return when it does; raise :class:`~pipelines.errors.PipelineError` when it does not."""
        ...


@runtime_checkable
class StandsIn(Protocol):
    """A language model that answers otherwise in the place of a better one."""

    def stand_in(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer in the place of a better model that failed, rests or shall not be asked."""
        ...


class FallbackModel:
    """Language models in order of preference.

    A model that fails before its first word hands the request to the next, and is left alone for ``rest_seconds`` (and
    twice as long after each further failure, up to a minute), so that a dead server does not cost every turn its
    timeout. While :meth:`keep_probing` runs, no turn has to find out whether a server is back. After a first word has
    been given there is no going back: the failure is raised, for the user has heard half an answer.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        on_failure: OnFailure,
        clock: Clock | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._ladder = Ladder([model.name for model in models], on_failure, self._clock, rest_seconds)
        self._models = tuple(models)
        self.forwarded = self._ladder.forwarded
        """How often a request was handed on, by the names of who failed or rests and who was next."""

    @property
    def name(self) -> str:
        """Of the preferred one."""
        return self._models[0].name

    def prefer(self, model: LanguageModel, *, before: str | None = None) -> None:
        """A better model has come; it is asked first from now on, or before the one of that name."""
        names = [one.name for one in self._models]
        place = 0 if before is None else names.index(before)
        self._models = (*self._models[:place], model, *self._models[place:])
        self._ladder = self._ladder.with_another(model.name, place)

    def start_without(self, error: PipelineError) -> None:
        """The preferred model is known not to work yet: let it rest as after a failure."""
        self._ladder.failed(0, error, None)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer of the first model that gives one. Raises what the last one raised."""
        models, ladder = self._models, self._ladder  # whatever happens to these meanwhile
        for place, successor in successors(ladder.order()):
            begun = False
            try:
                async with aclosing(_answer(models[place], request, better=place > 0)) as pieces:
                    async for piece in pieces:
                        begun = begun or bool(piece)
                        yield piece
            except PipelineError as error:
                ladder.failed(place, error, None if begun else successor)
                if begun or successor is None:
                    raise
            else:
                ladder.worked(place)
                return

    async def keep_probing(self) -> None:
        """Ask engines that failed whether they work again, while others stand in; until cancelled."""
        while True:
            await self._clock.sleep(PROBE_SECONDS)
            models, ladder = self._models, self._ladder
            for place in ladder.due(PROBE_SECONDS):
                model = models[place]
                if isinstance(model, Probed):
                    ladder.hold(place)
                    try:
                        with foreign_errors(ThinkError, "llm_failed", model.name):
                            await model.probe()
                    except PipelineError:
                        ladder.fails_still(place, LONGEST_PROBE_REST)
                    else:
                        ladder.worked(place)

    @property
    def current(self) -> str:
        """The name of the engine that is asked next: the first that does not rest."""
        return self._ladder.current

    @property
    def serving(self) -> str:
        """The name of the engine that answers at present."""
        return self._ladder.serving

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


def _answer(model: LanguageModel, request: ChatRequest, *, better: bool) -> AsyncGenerator[Piece, None]:
    """The answer of ``model``; ``better``: there are better ones, which failed or rest."""
    stream = model.stand_in if better and isinstance(model, StandsIn) else model.stream
    return guarded(lambda: stream(request), ThinkError, "llm_failed", model.name)
