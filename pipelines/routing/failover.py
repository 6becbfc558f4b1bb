"""Failover: the engines of a stage in order of preference, each behind a circuit breaker.

For every stage it is decided here who is asked next, who serves, what a failure means for both, and what is counted and
told of it. How work that has begun is handed on is the stage's own: :mod:`pipelines.routing.failover_llm` and
:mod:`pipelines.routing.failover_speech`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from media.clock import Clock, MonotonicClock
from pipelines.errors import EngineBusyError, PipelineError, foreign_errors

PROBE_SECONDS = 1.0
"""How often is looked whether an engine that failed has rested enough to be asked again."""
LONGEST_PROBE_REST = 15.0
"""Seconds between two such questions, at most: somebody may be waiting for a server to start."""

OnFailure = Callable[[str, PipelineError | None], None]
"""Is told the name of the engine that failed, and why; or ``None`` when one that had failed works again."""


class Engine(Protocol):
    """What every engine has, of whatever stage."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    async def close(self) -> None:
        """End workers and processes."""
        ...


@runtime_checkable
class Probed(Protocol):
    """An engine that can be asked whether it works, beside the requests of users."""

    async def probe(self) -> None:
        """Return when it does; raise :class:`~pipelines.errors.PipelineError` when it does not."""
        ...


E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stage does about failures."""

    retries: int = 0
    """How often the same engine is asked again for the same work before the next one is."""
    rest_seconds: float = 5.0
    """How long an engine rests after its first failure; twice as long after each further one …"""
    longest_rest: float = 60.0
    """… up to so many seconds."""


class Breaker:
    """The circuit breaker of one engine (M. Nygard, *Release It!*, 2007). Pure: ``now`` is passed in, in seconds.

    *Closed*: the engine works. *Open*: it has failed and rests. *Half-open*: it has rested, and one trial finds out;
    the others pass it over until that has ended, or for the longest rest when nothing is heard of it.
    """

    def __init__(self, policy: Policy) -> None:
        self.failures = 0
        """In a row, since it last worked."""
        self._policy = policy
        self._rests_until = float("-inf")
        self._tried_until = float("-inf")

    def admits(self, now: float) -> bool:
        """Whether it is closed, or half-open with nobody trying."""
        return self._rests_until <= now and self._tried_until <= now

    def due(self, now: float, within: float) -> bool:
        """Whether it is not closed, and will admit a trial ``within`` seconds."""
        return self.failures > 0 and self.admits(now + within)

    def trial(self, now: float) -> None:
        """Somebody finds out whether the engine works."""
        self._tried_until = now + self._policy.longest_rest

    def released(self) -> None:
        """The trial was given up without a result."""
        self._tried_until = float("-inf")

    def failed(self, now: float, longest_rest: float | None = None) -> None:
        """Open, for longer than the last time but at most for ``longest_rest`` seconds."""
        longest = self._policy.longest_rest if longest_rest is None else longest_rest
        self._rests_until = now + min(longest, self._policy.rest_seconds * 2.0 ** min(self.failures, 16))
        self.failures += 1
        self.released()

    def worked(self) -> None:
        """Close, and forget the failures."""
        self.failures = 0
        self._rests_until = float("-inf")
        self.released()


class _Rung(Generic[E]):
    """An engine and its breaker."""

    def __init__(self, engine: E, breaker: Breaker) -> None:
        self.engine = engine
        self.breaker = breaker


class Failover(Generic[E]):
    """Engines of one stage, the preferred one first. :meth:`attempts` is how work is done with them.

    Whoever is not asked because it rests, and whoever fails, is counted in ``forwarded``. An engine that is only busy
    does not rest.
    """

    errors: ClassVar[tuple[type[PipelineError], str]] = (PipelineError, "engine_failed")
    """What becomes of an exception that is none of ours: its class and code."""
    callers_fault: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors that no other engine would mend."""
    hopeless: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors after which the same engine is not asked again at once."""
    usual: ClassVar[Policy] = Policy()
    """The stage's policy where none is given."""

    def __init__(
        self,
        engines: Sequence[E],
        on_failure: OnFailure,
        clock: Clock | None = None,
        policy: Policy | None = None,
    ) -> None:
        if not engines:
            raise ValueError("at least one engine")
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """How often work was handed on, by the names of who failed or rests and who was next."""
        self._on_failure = on_failure
        self._clock = clock or MonotonicClock()
        self.policy = policy or self.usual
        self._rungs = tuple(_Rung(engine, Breaker(self.policy)) for engine in engines)

    @property
    def engines(self) -> tuple[E, ...]:
        """In order of preference."""
        return tuple(rung.engine for rung in self._rungs)

    @property
    def name(self) -> str:
        """Of the preferred engine."""
        return self._rungs[0].engine.name

    @property
    def current(self) -> str:
        """The name of the engine that is asked next: the first that does not rest."""
        return self._next.name

    @property
    def serving(self) -> str:
        """The name of the engine that does the work at present: the first that has not failed since it last worked."""
        sound = (rung.engine.name for rung in self._rungs if not rung.breaker.failures)
        return next(sound, self.current)

    def prefer(self, engine: E, *, before: str | None = None) -> None:
        """A better engine has come: work that begins from now on is its, or its before the engine of that name.

        What is known of the others stays.
        """
        names = [rung.engine.name for rung in self._rungs]
        place = 0 if before is None else names.index(before)
        self._rungs = (*self._rungs[:place], _Rung(engine, Breaker(self.policy)), *self._rungs[place:])

    def start_without(self, error: PipelineError) -> None:
        """The preferred engine is known not to work yet: let it rest as after a failure."""
        self._on_failure(self.name, error)
        self._rungs[0].breaker.failed(self._clock.now())

    def attempts(
        self, preferred: E | None = None, able: Callable[[E], bool] = lambda engine: True
    ) -> Iterator[Attempt[E]]:
        """The attempts at one piece of work, as long as they fail: the engines in order, those that rest last.

        Those that are not ``able`` are left out, unless none is.
        """
        now = self._clock.now()
        rungs = [rung for rung in self._rungs if able(rung.engine)] or list(self._rungs)
        first = next((rung for rung in rungs if rung.engine is preferred), rungs[0])
        order = sorted(rungs, key=lambda rung: (not rung.breaker.admits(now), rung is not first))
        if order[0] is not first:
            self.forwarded[first.engine.name, order[0].engine.name] += 1
        for rung, successor in zip(order, (*order[1:], None), strict=True):
            attempt = Attempt(self, rung, successor, stands_in=rung is not first)
            yield attempt
            while attempt.again:
                yield attempt

    async def keep_probing(self) -> None:
        """Ask engines that failed whether they work again, while others stand in; until cancelled."""
        while True:
            await self._clock.sleep(PROBE_SECONDS)
            for rung in self._rungs:
                engine: object = rung.engine
                now = self._clock.now()
                if isinstance(engine, Probed) and rung.breaker.due(now, PROBE_SECONDS):
                    rung.breaker.trial(now)
                    try:
                        with foreign_errors(*self.errors, rung.engine.name):
                            await engine.probe()
                    except PipelineError:
                        rung.breaker.failed(self._clock.now(), LONGEST_PROBE_REST)
                    else:
                        self._worked(rung)

    async def close(self) -> None:
        """Close every engine."""
        for engine in self.engines:
            await engine.close()

    @property
    def _next(self) -> E:
        now = self._clock.now()
        return next((rung.engine for rung in self._rungs if rung.breaker.admits(now)), self._rungs[0].engine)

    def _worked(self, rung: _Rung[E]) -> None:
        had_failed = rung.breaker.failures > 0
        rung.breaker.worked()
        if had_failed:
            self._on_failure(rung.engine.name, None)


class Attempt(Generic[E]):
    """One engine's attempt at a piece of work, and, where it is asked again, that as well.

    As a context manager it is the whole of it: an error in the block is told, and swallowed when another attempt is
    left to be made. Where the work is more than a block, call :meth:`worked`, :meth:`failed` or :meth:`released`.
    """

    def __init__(self, failover: Failover[E], rung: _Rung[E], successor: _Rung[E] | None, *, stands_in: bool) -> None:
        self.engine = rung.engine
        self.stands_in = stands_in
        """Whether a better engine has failed or rests."""
        self.again = False
        """Whether it failed, and the same engine is asked again next."""
        self._failover = failover
        self._rung = rung
        self._successor = successor
        self._retries = failover.policy.retries
        self._final = False
        self._failures = rung.breaker.failures
        now = failover._clock.now()
        self._on_trial = self._failures > 0 and rung.breaker.admits(now)
        if self._on_trial:
            rung.breaker.trial(now)

    def commit(self, final: bool = True) -> None:
        """What has been given cannot be taken back: if the engine fails from now on, no other one is asked."""
        self._final = final

    def worked(self) -> None:
        """The work, or a part of it that counts, is done."""
        self._failover._worked(self._rung)
        self._failures, self._on_trial = 0, False

    def failed(self, error: PipelineError, *, retry: bool = True) -> bool:
        """Tell of ``error``, count it and let the engine rest. Returns whether another attempt is left.

        With ``retry`` the same engine may be asked again. If others found out at the same time that it fails, it rests
        no longer for it.
        """
        failover, name = self._failover, self.engine.name
        if error.code in failover.callers_fault:
            self.released()
            return False
        failover._on_failure(name, error)
        self.again = retry and self._retries > 0 and not self._final and error.code not in failover.hopeless
        if self.again:
            self._retries -= 1
            return True
        successor = None if self._final else self._successor
        if successor is not None:
            failover.forwarded[name, successor.engine.name] += 1
        if isinstance(error, EngineBusyError):
            self.released()
        elif self._rung.breaker.failures == self._failures:
            self._rung.breaker.failed(failover._clock.now())
            self._on_trial = False
        return successor is not None

    def released(self) -> None:
        """The work was given up; nothing is known of the engine."""
        if self._on_trial:
            self._rung.breaker.released()
            self._on_trial = False

    def __enter__(self) -> Attempt[E]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self.worked()
        elif isinstance(error, PipelineError):
            return self.failed(error)
        else:
            self.released()
        return False
