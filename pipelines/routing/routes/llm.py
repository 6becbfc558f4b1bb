"""Language models behind a policy: when one fails, is late or does not know, the next one answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

from pipelines.errors import LLMError, guarded
from pipelines.interfaces.llm import (
    UNABLE,
    ChatRequest,
    LanguageModel,
    Message,
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
from pipelines.routing import run
from pipelines.routing.policy import hedge_after, is_sure
from pipelines.routing.refusals import REFUSALS, Passes
from pipelines.routing.routes.attempts import Attempt, UnsureError
from pipelines.routing.routes.racing import pumped
from pipelines.routing.routes.route import Route

_REFUSED = Passes(REFUSALS)
GO_ON = "(A fault cut you off there. Go on from the next word, and say only what is still missing.)"
"""What a model is told that takes over an answer of which a part has been heard."""


@runtime_checkable
class StandsIn(Protocol):
    """A language model that answers otherwise in the place of a better one."""

    def stand_in(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer in the place of a better model that failed, rests or shall not be asked."""
        ...


class FallbackModel(Route[LanguageModel]):
    """Language models as the policy orders them, a :class:`~pipelines.interfaces.llm.LanguageModel` itself.

    A model that fails before its first word hands the request to the next, and rests, so that a dead server does not
    cost every turn its timeout. While :meth:`keep_probing` runs, no turn has to find out whether a server is back.
    After a first word has been given another model takes over only where whoever reads the answer can take words back
    (:attr:`~pipelines.interfaces.llm.ChatRequest.on_lost`): it begins anew if nothing of the answer stays, and goes on
    behind what does. Else, and once a tool has been called, the failure is raised: it is half an answer.

    Usable is an answer from its first word on. Where the policy checks confidence, words are held back for as long as
    they may still become one of :data:`~pipelines.routing.refusals.REFUSALS`; such an answer, or an empty one, has the
    confidence 0 and is given only if nobody has a better one.
    """

    errors = (LLMError, "llm_failed")
    callers_fault = frozenset((*(f"{field}_unsupported" for field in UNABLE), "adapter_broken", "adapter_unknown"))
    refusing = frozenset(("llm_refused",))
    larger_only = True

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer of the first model that gives one as it is asked for. Raises what the last one raised."""
        if all(lacking(model, request) for model in self.engines):
            insist(self, request)
        attempts = self.attempts(able=lambda model: not lacking(model, request))
        lost = None if request.response_format or request.top_logprobs is not None else request.on_lost
        asked, said, apart = request, "", False
        while True:
            attempt, answer = await self.obtain(attempts, partial(self._begun, asked), _Answer.aclose)
            async with aclosing(answer), aclosing(answer.pieces()) as pieces:
                with attempt:
                    attempt.commit(lost is None)  # else somebody else may be asked only before the first word
                    async for piece in pieces:
                        if not isinstance(piece, str):
                            attempt.commit()
                        elif apart and piece:
                            piece, apart = f" {piece}", False
                        said += str(piece)
                        yield piece
                    return
            assert lost is not None
            said = lost(said)
            asked, apart = _going_on(request, said), bool(said.strip())

    @property
    def takes_images(self) -> bool:
        """Whether the model that is asked next looks at pictures."""
        return takes_images(self.next)

    @property
    def takes_tools(self) -> bool:
        """Whether the model that is asked next can be offered tools."""
        return takes_tools(self.next)

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

    async def _begun(self, request: ChatRequest, attempt: Attempt[LanguageModel]) -> _Answer:
        """The answer of the attempt's model, once it has begun. Raises :class:`UnsureError` with one that is none."""
        wishes = run.wishes.get()
        stream = self._answer(attempt.engine, request, attempt.stands_in)
        if hedge_after(self.need, wishes) is not None:
            stream = pumped(stream)
        checked = not is_sure(self.need.policy, wishes, 0.0) and attempt.can_be_doubted
        answer, said = _Answer(stream), ""
        try:
            async for piece in stream:
                answer.held.append(piece)
                if not isinstance(piece, str):
                    return answer
                said += piece
                if checked and _REFUSED.begin(said):
                    raise UnsureError(answer, 0.0, f"{attempt.engine.name} says that it does not know")
                if said.strip() and not (checked and _REFUSED.may_begin(said)):
                    return answer
        except UnsureError:
            raise
        except BaseException:
            await answer.aclose()
            raise
        if said.strip() or not attempt.can_be_doubted:
            return answer
        raise UnsureError(answer, 0.0, f"the answer of {attempt.engine.name} is empty")

    def _answer(self, model: LanguageModel, request: ChatRequest, stands_in: bool) -> AsyncGenerator[Piece, None]:
        stream = model.stand_in if stands_in and isinstance(model, StandsIn) else model.stream
        return guarded(lambda: stream(request), *self.errors, model.name)


def _going_on(request: ChatRequest, said: str) -> ChatRequest:
    """What is asked of a model that takes over when ``said`` stays."""
    if not said.strip():
        return request
    return replace(request, messages=(*request.messages, Message("assistant", said.strip()), Message("user", GO_ON)))


class _Answer:
    """An answer that has begun: the pieces that were read to know it, and the rest."""

    def __init__(self, rest: AsyncGenerator[Piece, None]) -> None:
        self.held: list[Piece] = []
        self.rest = rest

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """All of them."""
        for piece in self.held:
            yield piece
        async for piece in self.rest:
            yield piece

    async def aclose(self) -> None:
        """End it. Idempotent."""
        await self.rest.aclose()
