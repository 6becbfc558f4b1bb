"""When a language model fails, the next one answers: the conversation goes on, and the reason is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from pipelines.errors import LLMError, guarded
from pipelines.interfaces.llm import (
    UNABLE,
    ChatRequest,
    LanguageModel,
    Piece,
    adapters_of,
    calls_unasked,
    insist,
    lacking,
    takes_choice,
    takes_format,
    takes_images,
    takes_logprobs,
    takes_tools,
)
from pipelines.routing.failover import Failover


@runtime_checkable
class StandsIn(Protocol):
    """A language model that answers otherwise in the place of a better one."""

    def stand_in(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer in the place of a better model that failed, rests or shall not be asked."""
        ...


class FallbackModel(Failover[LanguageModel]):
    """Language models in order of preference, a :class:`~pipelines.interfaces.llm.LanguageModel` itself.

    A model that fails before its first word hands the request to the next, and rests, so that a dead server does not
    cost every turn its timeout. While :meth:`keep_probing` runs, no turn has to find out whether a server is back.
    After a first word has been given there is no going back: the failure is raised, for the user has heard half an
    answer.
    """

    errors = (LLMError, "llm_failed")
    callers_fault = frozenset((*(f"{field}_unsupported" for field in UNABLE), "adapter_broken", "adapter_unknown"))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer of the first model that gives one as it is asked for. Raises what the last one raised."""
        if all(lacking(model, request) for model in self.engines):
            insist(self, request)
        for attempt in self.attempts(able=lambda model: not lacking(model, request)):
            with attempt:
                async with aclosing(self._answer(attempt.engine, request, attempt.stands_in)) as pieces:
                    async for piece in pieces:
                        if piece:
                            attempt.commit()
                        yield piece
                return

    @property
    def takes_images(self) -> bool:
        """Whether the model that is asked next looks at pictures."""
        return takes_images(self._next)

    @property
    def takes_tools(self) -> bool:
        """Whether the model that is asked next can be offered tools."""
        return takes_tools(self._next)

    @property
    def calls_unasked(self) -> bool:
        """Whether any of them calls tools by itself."""
        return any(map(calls_unasked, self.engines))

    @property
    def takes_choice(self) -> bool:
        """Whether any of the models can be made to call a tool: those that cannot are passed over then."""
        return any(map(takes_choice, self.engines))

    @property
    def takes_format(self) -> bool:
        """Whether the answers of any of the models can be held to JSON, as before."""
        return any(map(takes_format, self.engines))

    @property
    def takes_logprobs(self) -> bool:
        """Whether any of the models tells how likely its tokens were, as before."""
        return any(map(takes_logprobs, self.engines))

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those of all the models: whoever lacks one is passed over where it is asked for."""
        return tuple(dict.fromkeys(name for model in self.engines for name in adapters_of(model)))

    def _answer(self, model: LanguageModel, request: ChatRequest, stands_in: bool) -> AsyncGenerator[Piece, None]:
        stream = model.stand_in if stands_in and isinstance(model, StandsIn) else model.stream
        return guarded(lambda: stream(request), *self.errors, model.name)
