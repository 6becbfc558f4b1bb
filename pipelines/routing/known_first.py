"""Two language models as one: a small one that says so when it does not know, and a larger one that is asked then.

The small one answers at once what it knows (the camera, names, sums, tools) and begins every other answer with one of a
few sentences, of which nothing is heard when the larger one takes over (:mod:`pipelines.routing.passing`). Some
questions stay with it all the same: those to which it is right to say that one does not know. What is longer than
people speak is not read by the small one at all, and when that one fails before its first word, the larger one is
asked, too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Piece
from pipelines.routing.fallback import Probed, StandsIn
from pipelines.routing.passing import PassedOnError, Passes, last_said

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
        self.passed = 0
        """Questions that were passed on."""
        self._passes = Passes(passes, keeps)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer of whoever knows. Raises what the large one raises, or the small one in mid-answer."""
        begun = False
        if len(last_said(request)) <= LONGEST:
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
        self.passed += 1
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

    def _for_large(self, request: ChatRequest) -> ChatRequest:
        """Without the answers that passed a question on."""
        messages = tuple(
            message
            for message in request.messages
            if message.role != "assistant" or not self._passes.begin(message.content)
        )
        return replace(request, messages=messages)
