"""One engine of a route, with what is known of it: where it runs, how it has fared, how warm it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from pipelines.routing import run
from pipelines.routing.breaker import Breaker, RestPolicy
from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.policy import Condition, is_hot

REMEMBERED_SECONDS = 60.0
"""How long the latency of an engine is held against it: then it gets another chance."""
_LATEST = 0.3
"""The share of the latest latency in the mean."""


class Engine(Protocol):
    """What every engine has, of whatever stage."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    async def close(self) -> None:
        """End workers and processes."""
        ...


E = TypeVar("E", bound=Engine)


def _nobody_tells() -> None:
    return None


class Rung(Generic[E]):
    """An engine, its breaker and its condition. Routes may share it: what one finds out all know.

    ``facts`` say where it runs and what it is; without an engine they say why (:attr:`Condition.unable`) and the policy
    passes it over. ``load`` is 0–1 and ``temperature`` in degrees Celsius, both as they are now.
    """

    def __init__(
        self,
        engine: E | None,
        facts: Condition | None = None,
        *,
        rest: RestPolicy | None = None,
        load: Callable[[], float | None] = _nobody_tells,
        temperature: Callable[[], float | None] = _nobody_tells,
    ) -> None:
        assert engine is not None or (facts is not None and facts.unable)
        self._engine = engine
        self._facts = facts
        self.breaker = Breaker(rest or RestPolicy())
        self.running = 0
        """Pieces of work that it does at present for routes."""
        self._load = load
        self._temperature = temperature
        self._was_hot = False
        self._latency = 0.0
        self._measured: float | None = None

    @property
    def is_here(self) -> bool:
        """Whether there is an engine, and not only a reason why there is none."""
        return self._engine is not None

    @property
    def engine(self) -> E:
        """The engine, of one that is here."""
        assert self._engine is not None
        return self._engine

    @property
    def facts(self) -> Condition:
        """What does not change; by default the engine is a backend of its own name."""
        if self._facts is None:
            return Condition(self.engine.name, model=self.engine.name)
        return self._facts

    def condition(self, now: float, policy: ForwardingPolicy, *, named: bool = False) -> Condition:
        """How it is ``now``, in seconds."""
        facts = self.facts
        if not self.is_here:
            return facts
        temperature = self._temperature() if policy.enable_thermal_check else None
        was_hot, self._was_hot = self._was_hot, is_hot(policy, temperature, self._was_hot)
        load = self._load()
        return replace(
            facts,
            load=min(0.99, self.running / 16) if load is None else load,
            resting=not self.breaker.admits(now),
            temperature=temperature,
            was_hot=was_hot,
            latency_ms=self.latency_ms(now),
            named=facts.named or named,
        )

    def latency_ms(self, now: float) -> float | None:
        """The mean of late; ``None`` when it was not asked of late."""
        if self._measured is None or now - self._measured > REMEMBERED_SECONDS:
            return None
        return self._latency * 1000

    def took(self, seconds: float, now: float) -> None:
        """A first usable result came after ``seconds``."""
        known = self.latency_ms(now) is not None
        self._latency = seconds * _LATEST + self._latency * (1 - _LATEST) if known else seconds
        self._measured = now

    def note(self, reason: str, outcome: run.Outcome = "running") -> run.Attempt:
        """What is written down of it."""
        facts = self.facts
        name = facts.model or (self.engine.name if self.is_here else "")
        return run.Attempt(facts.backend, facts.hardware, name, reason, outcome)
