"""Language models behind backends that are slow, wrong, hot or dead, and routes over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from media.clock import Clock
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, Message, Piece
from pipelines.routing import run
from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.policy import Condition, Need
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.rung import Rung


class Backend:
    """A model that says ``pieces``, each after ``seconds`` of ``clock``; an error is raised in its place."""

    def __init__(self, name: str, *pieces: Piece | PipelineError, clock: Clock, seconds: float = 0.0) -> None:
        self.name = name
        self.pieces = pieces
        self.seconds = seconds
        self.temperature: float | None = None
        self.asked = self.cancelled = self.running = 0
        self._clock = clock

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.asked += 1
        self.running += 1
        try:
            for piece in self.pieces:
                await self._clock.sleep(self.seconds)
                if isinstance(piece, PipelineError):
                    raise piece
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def close(self) -> None:
        pass

    def rung(self, hardware: Any = "cpu", **facts: Any) -> Rung[Any]:
        """As a route asks it, a backend of its own name."""
        condition = Condition(self.name, hardware, f"{self.name}-model", **facts)
        return Rung(self, condition, temperature=lambda: self.temperature)


def routed(clock: Clock, *backends: Backend, **policy: Any) -> FallbackModel:
    """A route over ``backends`` in this order."""
    return FallbackModel(
        [backend.rung() for backend in backends],
        lambda name, error: None,
        clock,
        need=Need(policy=ForwardingPolicy(**policy)),
        jitter=lambda: 1.0,
    )


@contextmanager
def recorded(**wishes: Any) -> Iterator[run.StageRecord]:
    """A run of one stage, as the executor has it."""
    record = run.StageRecord("think", "text_generation", started=0.0)
    tokens = run.record.set(record), run.wishes.set(run.Wishes(**wishes))
    try:
        yield record
    finally:
        run.record.reset(tokens[0])
        run.wishes.reset(tokens[1])


async def said(model: FallbackModel) -> str:
    """The whole answer."""
    request = ChatRequest((Message("user", "why"),))
    return "".join([str(piece) async for piece in model.stream(request)])


def told(record: run.StageRecord) -> list[tuple[str, str]]:
    """Backend and outcome of each attempt."""
    return [(attempt.backend, attempt.outcome) for attempt in record.attempts]
