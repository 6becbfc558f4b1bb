"""One engine of a route, with what is known of it: where it runs, how it has fared, how warm it is."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from pipelines.routing import run
from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.policy import Condition, is_hot
from pipelines.routing.routes.breaker import Breaker, RestPolicy

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


@dataclass(slots=True)
class _Fared:
    """How an engine has fared."""

    running: int = 0
    was_hot: bool = False
    latency: float = 0.0
    """Seconds, the mean of late."""
    measured: float | None = None
    """When."""


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
        self._load = load
        self._temperature = temperature
        self._fared = _Fared()

    @property
    def running(self) -> int:
        """Pieces of work that it does at present for routes."""
        return self._fared.running

    def begins(self) -> None:
        """It is given a piece of work."""
        self._fared.running += 1

    def ends(self) -> None:
        """It has done one, or given it up."""
        self._fared.running -= 1

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

    def named(self, aliases: tuple[str, ...]) -> Rung[E]:
        """The same with other names of its backend: breaker and measurements are shared."""
        if aliases == self.facts.aliases:
            return self
        other = copy(self)
        other._facts = replace(self.facts, aliases=aliases)
        return other

    def condition(self, now: float, policy: ForwardingPolicy, *, named: bool = False) -> Condition:
        """How it is ``now``, in seconds."""
        facts = self.facts
        if not self.is_here:
            return facts
        temperature = self._temperature() if policy.enable_thermal_check else None
        was_hot = self._fared.was_hot
        self._fared.was_hot = is_hot(policy, temperature, was_hot)
        load, resting = self._load(), not self.breaker.admits(now)
        latency_ms = self.latency_ms(now) if policy.enable_latency_check else None
        if not (self.running or load or resting or named or temperature is not None or latency_ms is not None):
            return facts  # as it mostly is: a copy takes longer than all the rest
        return replace(
            facts,
            load=min(0.99, self.running / 16) if load is None else load,
            resting=resting,
            temperature=temperature,
            was_hot=was_hot,
            latency_ms=latency_ms,
            named=facts.named or named,
        )

    def latency_ms(self, now: float) -> float | None:
        """The mean of late; ``None`` when it was not asked of late."""
        fared = self._fared
        if fared.measured is None or now - fared.measured > REMEMBERED_SECONDS:
            return None
        return fared.latency * 1000

    def took(self, seconds: float, now: float) -> None:
        """A first usable result came after ``seconds``."""
        known, fared = self.latency_ms(now) is not None, self._fared
        fared.latency = seconds * _LATEST + fared.latency * (1 - _LATEST) if known else seconds
        fared.measured = now

    def note(self, reason: str, outcome: run.Outcome = "running") -> run.Attempt:
        """What is written down of it."""
        facts = self.facts
        name = facts.model or (self.engine.name if self.is_here else "")
        return run.Attempt(facts.backend, facts.hardware, name, reason, outcome)
