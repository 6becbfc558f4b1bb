"""How the first usable result is got: one engine after another, or the next one beside one that is late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Generic, TypeVar

from media.clock import Clock
from pipelines.errors import PipelineError, only_logged
from pipelines.routing.routes.attempts import Attempt, UnsureError
from pipelines.routing.routes.rung import Engine

E = TypeVar("E", bound=Engine)
T = TypeVar("T")
PIECES_AHEAD = 8
"""Pieces of an answer that may wait to be read."""


class _Surest(Generic[E, T]):
    """The surest of the results that are not sure enough."""

    def __init__(self, discard: Callable[[T], Awaitable[object]]) -> None:
        self.found: tuple[Attempt[E], T, float] | None = None
        self._discard = discard

    async def take(self, attempt: Attempt[E], doubt: UnsureError) -> None:
        """Keep the result of ``doubt`` if it is the surest."""
        before = self.found
        if before is not None and before[2] >= doubt.confidence:
            await self.end(doubt.value)
            return
        self.found = (attempt, doubt.value, doubt.confidence)
        if before is not None:
            await self.end(before[1])

    async def drop(self) -> None:
        """None of them is wanted."""
        found, self.found = self.found, None
        if found is not None:
            await self.end(found[1])

    def serve(self) -> tuple[Attempt[E], T] | None:
        """It is taken, as nobody was surer."""
        if self.found is None:
            return None
        attempt, value, _ = self.found
        attempt.serves()
        return attempt, value

    async def end(self, value: T) -> None:
        """End work whose result is not wanted."""
        with only_logged("ending what is not wanted"):
            await self._discard(value)


async def raced(
    attempts: Iterator[Attempt[E]],
    begin: Callable[[Attempt[E]], Awaitable[T]],
    discard: Callable[[T], Awaitable[object]],
    clock: Clock,
    wait: float | None,
) -> tuple[Attempt[E], T]:
    """See :meth:`~pipelines.routing.routes.route.Route.obtain`; a next attempt begins ``wait`` seconds after the last.

    The one whose result is returned has been told that it serves; what it does from then on is its caller's.
    """
    surest: _Surest[E, T] = _Surest(discard)
    try:
        if wait is not None:
            return await _Race(attempts, begin, surest, clock, wait).run()
        failure: PipelineError | None = None
        for attempt in attempts:
            try:
                await attempt.ready()
                value = await begin(attempt)
            except UnsureError as doubt:
                await surest.take(attempt, doubt)
                if not attempt.unsure(doubt):
                    break
            except PipelineError as error:
                failure = error
                if not attempt.failed(error):
                    break
            except BaseException:
                attempt.released()
                raise
            else:
                attempt.serves()
                await surest.drop()
                return attempt, value
        return _settled(surest, failure)
    except BaseException:
        await surest.drop()
        raise


def _settled(surest: _Surest[E, T], failure: PipelineError | None) -> tuple[Attempt[E], T]:
    if (served := surest.serve()) is not None:
        return served
    assert failure is not None, "a route without engines raises before it comes to this"
    raise failure


class _Race(Generic[E, T]):
    """Several attempts at once."""

    def __init__(
        self,
        attempts: Iterator[Attempt[E]],
        begin: Callable[[Attempt[E]], Awaitable[T]],
        surest: _Surest[E, T],
        clock: Clock,
        wait: float,
    ) -> None:
        self._attempts = attempts
        self._begin = begin
        self._surest = surest
        self._clock = clock
        self._wait = wait
        self._running: dict[asyncio.Task[T], Attempt[E]] = {}
        self._more = True
        """Whether somebody may be left to begin."""
        self._failure: PipelineError | None = None

    async def run(self) -> tuple[Attempt[E], T]:
        timer: asyncio.Task[None] | None = None
        winner: Attempt[E] | None = None
        try:
            self._next()
            while self._running:
                if timer is None and self._more:
                    timer = asyncio.create_task(self._clock.sleep(self._wait), name="hedge")
                waited = {*self._running, *([timer] if timer is not None else [])}
                done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._running if task in done]:
                    if (won := await self._ended(task)) is not None:
                        winner = won[0]
                        await self._surest.drop()
                        return won
                if timer is not None and timer in done:
                    timer = None
                    self._next()
                if not self._running:
                    self._next()
            return _settled(self._surest, self._failure)
        finally:
            await self._stop(timer, winner)

    def _next(self) -> None:
        attempt = next(self._attempts, None) if self._more else None
        if attempt is None:
            self._more = False
        else:
            self._start(attempt)
            self._more = attempt.has_followers

    def _start(self, attempt: Attempt[E]) -> None:
        async def asked() -> T:
            await attempt.ready()
            return await self._begin(attempt)

        self._running[asyncio.create_task(asked(), name="attempt")] = attempt

    async def _ended(self, task: asyncio.Task[T]) -> tuple[Attempt[E], T] | None:
        """The result of an attempt that has ended, if it is the one to take."""
        attempt = self._running.pop(task)
        try:
            value = task.result()
        except UnsureError as doubt:
            await self._surest.take(attempt, doubt)
            if attempt.unsure(doubt):
                self._next()
            else:
                self._more = False
        except PipelineError as error:
            self._failure = error
            another = attempt.failed(error)
            if attempt.again:
                self._start(attempt)
            elif another:
                self._next()
            elif not attempt.has_followers:
                self._more = False
            else:  # the caller's fault: nobody would do better
                raise
        except BaseException:
            attempt.released()
            raise
        else:
            attempt.serves()
            return attempt, value
        return None

    async def _stop(self, timer: asyncio.Task[None] | None, winner: Attempt[E] | None) -> None:
        """End those that were not first."""
        losers = dict(self._running)
        self._running.clear()
        ending: set[asyncio.Task[object]] = {*losers, *([timer] if timer is not None else [])}
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for task, attempt in losers.items():
            attempt.lost(winner)
            if not task.cancelled() and task.exception() is None:  # done in the same moment
                await self._surest.end(task.result())


async def pumped(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """What ``source`` yields, read by a task of its own: whoever iterates may change from task to task.

    Closing it cancels the task and waits for it.
    """
    pieces: asyncio.Queue[T | _End] = asyncio.Queue(PIECES_AHEAD)

    async def read() -> None:
        end = _End()
        try:
            async with aclosing(source):
                async for piece in source:
                    await pieces.put(piece)
        except Exception as error:  # noqa: BLE001 - raised again where the pieces are read
            end.error = error
        await pieces.put(end)

    reading = asyncio.create_task(read(), name="pump")
    try:
        while True:
            piece = await pieces.get()
            if isinstance(piece, _End):
                if piece.error is not None:
                    raise piece.error
                return
            yield piece
    finally:
        reading.cancel()
        await asyncio.wait([reading])


class _End:
    """The end of what is pumped."""

    error: Exception | None = None
