"""Two language models as one: a small one that says so when it does not know, and a larger one that is asked then.

The small one answers at once what it knows (the camera, names, sums, tools) and begins every other answer with one of a
few sentences, of which nothing is heard when the larger one takes over: its words are held back for as long as they may
still become one of them, a few tokens. Some questions stay with it all the same: those to which it is right to say that
one does not know. What is longer than people speak is not read by the small one at all, and when that one fails before
its first word, the larger one is asked, too.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import (
    ChatRequest,
    LanguageModel,
    Piece,
    adapters_of,
    calls_unasked,
    lacking,
    takes_choice,
    takes_format,
    takes_images,
    takes_logprobs,
    takes_tools,
)
from pipelines.routing import run
from pipelines.routing.refusals import PassedOnError, Passes, last_said
from pipelines.routing.routes.llm import StandsIn
from pipelines.routing.routes.route import Probed

log = logging.getLogger(__name__)

LONGEST = 1000
"""Characters of what the user said last, a minute of speech, that the small one is asked about."""


class ProbedModel(LanguageModel, Probed, Protocol):
    """A model that can be asked whether it works."""


class KnownFirst:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel`.

    ``passes`` are the beginnings of answers with which ``small`` passes a question on, unless what the user said last
    matches ``keeps``.
    """

    takes_images = False

    def __init__(
        self, small: LanguageModel, large: ProbedModel, passes: Sequence[str], keeps: re.Pattern[str] | None = None
    ) -> None:
        self.small = small
        self.large = large
        self.name = f"{large.name}, {small.name} first"
        self.takes_choice = takes_choice(large)
        self.calls_unasked = calls_unasked(large)
        self.takes_format = takes_format(large)
        self.takes_logprobs = takes_logprobs(large)
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """Questions that were passed on, by the names of both."""
        self._passes = Passes(passes, keeps)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those of the large one: the small one is not asked then."""
        return adapters_of(self.large)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer of whoever knows. Raises what the large one raises, or the small one in mid-answer."""
        begun = asked = False
        if len(last_said(request)) <= LONGEST and not lacking(self.small, request):
            asked = True
            kept = self._passes.keeps(request)
            stays = self.small.stand_in if isinstance(self.small, StandsIn) else self.small.stream
            known = stays(request) if kept else self._passes.known(self.small, request)
            try:
                async with aclosing(known) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
            except PipelineError as error:
                if begun:
                    raise
                log.warning("%s cannot be asked first: %s", self.small.name, error)
            except PassedOnError:
                pass
            else:
                return
        if asked:
            self._note()
        async with aclosing(self.large.stream(self._for_large(request))) as pieces:
            async for piece in pieces:
                yield piece

    async def probe(self) -> None:
        """Find out whether the large one works. Raises what that one raises."""
        await self.large.probe()

    async def close(self) -> None:
        """Close both."""
        await self.small.close()
        await self.large.close()

    def _note(self) -> None:
        """Count and write down that the small one did not know."""
        self.forwarded[self.small.name, self.large.name] += 1
        record = run.record.get()
        if record is not None:
            note = run.Attempt("cpu", "cpu", self.small.name, "asked first, for it is quick", "unsure", confidence=0.0)
            note.message = f"{self.small.name} does not know"
            record.attempts.insert(max(0, len(record.attempts) - 1), note)

    def _for_large(self, request: ChatRequest) -> ChatRequest:
        """Without the answers that passed a question on."""
        messages = tuple(
            message
            for message in request.messages
            if message.role != "assistant" or not self._passes.begin(message.content)
        )
        return replace(request, messages=messages)


class StandIn:
    """``model`` with other words for what it does not know while it stands in for a better one.

    By itself it may say that a better one can be installed, which is not true when one is. Then it says ``away``; of
    what the better ones are not asked either (see :class:`Passes`), ``never``.
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
