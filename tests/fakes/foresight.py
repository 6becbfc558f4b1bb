"""Describers and filmers that do as told, at the seams of :mod:`pipelines.foresight`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import numpy as np

from pipelines.foresight.events import Event, Method
from pipelines.foresight.filming import Filmed, Scene
from pipelines.foresight.quality import Grain, Plan


class FakeDescriber:
    """Says ``words``; waits before each for what ``before`` returns, and raises ``error`` at the end."""

    name = "fake-describer"

    def __init__(
        self,
        words: Sequence[str] = ("A ", "cat. "),
        before: Callable[[], Any] | None = None,
        error: Exception | None = None,
    ) -> None:
        self._words = words
        self._before = before
        self._error = error
        self.closed = False

    async def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        try:
            for word in self._words:
                if self._before is not None:
                    await self._before()
                yield word
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


class FakeFilmer:
    """Black frames, after what ``before`` returns; ``errors`` are raised in turn, after ``frames_before`` frames."""

    method: Method = "generated"
    model = "fake-generator"

    def __init__(
        self,
        before: Callable[[], Any] | None = None,
        errors: Sequence[Exception] = (),
        frames_before: int = 0,
        grain: Grain | None = None,
    ) -> None:
        self.grain = grain or Grain()
        self.plans: list[Plan] = []
        self.closed = asyncio.Event()
        self._before = before
        self._errors = list(errors)
        self._frames_before = frames_before

    async def film(self, scene: Scene, first: Any, plan: Plan) -> AsyncGenerator[Any, None]:
        self.plans.append(plan)
        error = self._errors.pop(0) if self._errors else None
        try:
            for n in range(plan.frames - 1):
                if error is not None and n == self._frames_before:
                    raise error
                if self._before is not None:
                    await self._before()
                yield Filmed(np.zeros_like(first), 0.5)
        finally:
            self.closed.set()


class Told:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
