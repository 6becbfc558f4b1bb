"""The language model's text, clause by clause as it streams in, and at once where it stops coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from media.clock import Clock
from pipelines.errors import LLMError, guarded
from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, ToolCall
from pipelines.voice.clauses import ClauseSplitter

STALL_SECONDS = 0.7
"""A model that sends nothing for this long has stalled: a listener hears a pause of this length as one."""
CLAUSES_AHEAD = 16
"""Clauses that may wait to be spoken; then the model is not read any further."""
_LOOK_SECONDS = 0.1
"""How often is looked, while a model stalls, whether the listener has heard all there is."""


class Clauses:
    """Speakable clauses of one answer, the first one as early as it makes sense to say it.

    :meth:`read` and :meth:`watch` are the owner's tasks; :meth:`take` gives what they find. ``hungry`` tells whether
    the listener has heard nearly all that was taken: then a model that stalls in the middle of a clause must not keep
    the words that are there. When the model fails and another one can take over, that one goes on behind the clauses
    that have been taken, or begins anew if none has: one answer is heard.
    """

    def __init__(
        self,
        model: LanguageModel,
        request: ChatRequest,
        clock: Clock,
        on_first_token: Callable[[], None],
        hungry: Callable[[], bool],
    ) -> None:
        self._model = model
        self._request = replace(request, on_lost=self._lost)
        self._clock = clock
        self._on_first_token = on_first_token
        self._hungry = hungry
        self._splitter = ClauseSplitter()
        self._dropped = ""
        """What a model that failed had said and nobody had taken, until another one says something."""
        self.cut = False
        """Whether the answer ended because it reached the limit of tokens; known once all has been taken."""
        self.calls: list[ToolCall] = []
        """What the model asks the client to call; complete once all has been taken."""
        self._latest: float | None = None
        """When the last piece came."""
        self._clauses: asyncio.Queue[str | Exception | None] = asyncio.Queue(CLAUSES_AHEAD)
        """An exception or ``None`` is the end."""

    async def read(self) -> None:
        """Take in the answer. Cancelling it stops generation."""
        failure: Exception | None = None
        try:
            answer = guarded(lambda: self._model.stream(self._request), LLMError, "llm_failed", self._model.name)
            async with aclosing(answer) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ToolCall):
                        self.calls.append(piece)
                    elif isinstance(piece, Cut):
                        self.cut = True
                    else:
                        await self._said(piece)
        except Exception as error:  # noqa: BLE001 - raised again by take(), once all that was said has been taken
            failure = error
        for clause in self._splitter.push(self._dropped):  # nobody has taken over
            await self._clauses.put(clause)
        for clause in self._splitter.flush():
            await self._clauses.put(clause)
        await self._clauses.put(failure)

    async def watch(self) -> None:
        """Give out what is there when the model stalls in the middle of a clause; until cancelled."""
        while True:
            wait = STALL_SECONDS if self._latest is None else self._latest + STALL_SECONDS - self._clock.now()
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            if self._clauses.empty() and self._hungry():
                for clause in self._splitter.pause():
                    self._clauses.put_nowait(clause)
            await self._clock.sleep(_LOOK_SECONDS)

    async def take(self) -> AsyncGenerator[str, None]:
        """Yield the clauses; then raise what :meth:`read` met (:class:`~pipelines.errors.LLMError`), if anything."""
        while (clause := await self._clauses.get()) is not None:
            if isinstance(clause, Exception):
                raise clause
            yield clause

    def _lost(self, said: str) -> str:
        """The model has failed, and another one is there: what has not been taken is dropped, what was taken stays.

        ``said`` is what it has streamed since its last calls of tools: what was said before stays as well.
        """
        waiting = [str(self._clauses.get_nowait()) for _ in range(self._clauses.qsize())]
        rest = self._splitter.drop()
        before = _letters("".join((*waiting, rest))) - _letters(said)
        if before <= 0:
            self._dropped = " ".join((*waiting, rest))
            if before == 0:
                self._splitter = ClauseSplitter()  # the next clause is the first one again
            return _begin(said, -before)
        while waiting and _letters(waiting[0]) <= before:
            before -= _letters(waiting[0])
            self._clauses.put_nowait(waiting.pop(0))
        own = " ".join((*waiting, rest))
        begun = _begin(own, before)
        self._dropped = own[len(begun) :].lstrip()
        for clause in self._splitter.push(f"{begun} " if begun else ""):
            self._clauses.put_nowait(clause)
        return ""

    async def _said(self, piece: str) -> None:
        self._dropped = ""
        if self._latest is None and piece:
            self._on_first_token()
        if piece or self._latest is not None:
            self._latest = self._clock.now()
        for clause in self._splitter.push(piece):
            await self._clauses.put(clause)


def _letters(text: str) -> int:
    """Characters but for white space, which clauses lose."""
    return sum(not character.isspace() for character in text)


def _begin(text: str, letters: int) -> str:
    """The beginning of ``text`` that has so many characters but for white space."""
    ends = [place for place, character in enumerate(text, 1) if not character.isspace()]
    return text[: ends[letters - 1]] if letters > 0 else ""


class Recital:
    """A language model that answers everything by the same words."""

    name = "recital"

    def __init__(self, text: str) -> None:
        self._text = text

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The words."""
        yield self._text

    async def close(self) -> None:
        """Nothing is open."""
