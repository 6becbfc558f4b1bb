"""Routes: the engines of a stage behind the policy that says who is asked, each with a circuit breaker.

For every stage it is decided here who is asked next, who serves, what a failure, a doubt or a delay means, and what is
counted, written down and told of it; the rules are those of :mod:`pipelines.routing.policy`. How work that has begun is
handed on is the stage's own: :mod:`pipelines.routing.routes.llm`, :mod:`pipelines.routing.routes.speech` and
:mod:`pipelines.routing.routes.task`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from media.clock import Clock, MonotonicClock
from pipelines.errors import PipelineError, foreign_errors
from pipelines.routing import policy, run
from pipelines.routing.policy import Need
from pipelines.routing.routes.attempts import Attempt, Followers, Notes
from pipelines.routing.routes.breaker import RestPolicy
from pipelines.routing.routes.racing import raced
from pipelines.routing.routes.rung import Engine, Rung
from pipelines.text import unknown

PROBE_SECONDS = 1.0
"""How often is looked whether an engine that failed has rested enough to be asked again."""
LONGEST_PROBE_REST = 15.0
"""Seconds between two such questions, at most: somebody may be waiting for a server to start."""

OnFailure = Callable[[str, PipelineError | None], None]
"""Is told the name of the engine that failed, and why; or ``None`` when one that had failed works again."""


@runtime_checkable
class Probed(Protocol):
    """An engine that can be asked whether it works, beside the requests of users."""

    async def probe(self) -> None:
        """Return when it does; raise :class:`~pipelines.errors.PipelineError` when it does not."""
        ...


E = TypeVar("E", bound=Engine)
T = TypeVar("T")
Begin = Callable[[Attempt[E]], Awaitable[T]]
"""Asks the engine of an attempt and returns its first usable result. Raises :class:`PipelineError`, or
:class:`~pipelines.routing.routes.attempts.UnsureError` for a result that does only if nobody has a better one."""
Discard = Callable[[T], Awaitable[object]]
"""Ends work whose result is not wanted."""


class Route(Generic[E]):
    """Engines of one stage. :meth:`attempts` and :meth:`obtain` are how work is done with them.

    Whoever is not asked because it rests, and whoever fails or is not sure enough, is counted in ``forwarded``. An
    engine that is only busy does not rest. ``engines`` are in declared order; a function gives them anew each time.
    ``jitter`` draws a number in 0–1 for the pauses before repetitions.
    """

    errors: ClassVar[tuple[type[PipelineError], str]] = (PipelineError, "engine_failed")
    """What becomes of an exception that is none of ours: its class and code."""
    callers_fault: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors that no other engine would mend."""
    hopeless: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors after which the same engine is not asked again at once."""
    passing: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors that tell of what is replaced, such as a process: an engine that nobody can stand in for is asked
    again after a pause, and the work is not lost."""
    refusing: ClassVar[frozenset[str]] = frozenset()
    """Codes of errors with which an engine that works refuses one piece of work: the next may take it, and nobody else
    is kept from asking the first."""
    usual: ClassVar[RestPolicy] = RestPolicy()
    """The stage's policy about failures where none is given."""
    larger_only: ClassVar[bool] = False
    """Whether a result that is not sure enough goes to no smaller model."""

    def __init__(
        self,
        engines: Sequence[E | Rung[E]] | Callable[[], Sequence[Rung[E]]],
        on_failure: OnFailure,
        clock: Clock | None = None,
        policy: RestPolicy | None = None,
        *,
        need: Need | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """How often work was handed on, by who failed or rests and who was next."""
        self.clock = clock or MonotonicClock()
        self.rest = policy or self.usual
        self.need = need or Need()
        self.jitter = jitter
        self.on_failure = on_failure
        self._listeners: list[Callable[[float], object]] = []
        if callable(engines):
            self._rungs: tuple[Rung[E], ...] = ()
            self._source: Callable[[], Sequence[Rung[E]]] = engines
        else:
            if not engines:
                raise ValueError("at least one engine")
            self._rungs = tuple(map(self._rung, engines))
            self._source = lambda: self._rungs

    @property
    def rungs(self) -> Sequence[Rung[E]]:
        """Engines that are here, in declared order, and what is known of them."""
        return [rung for rung in self._source() if rung.is_here]

    @property
    def engines(self) -> tuple[E, ...]:
        """In declared order."""
        return tuple(rung.engine for rung in self.rungs)

    @property
    def name(self) -> str:
        """Of the preferred engine."""
        rungs = self._source()
        first = policy.order(self.need, run.wishes.get(), self._conditions(rungs)).first
        return "nobody" if first is None else rungs[first].engine.name

    @property
    def current(self) -> str:
        """The name of the engine that is asked next: the first that does not rest."""
        return self.next.name

    @property
    def serving(self) -> str:
        """The name of the engine that does the work at present: the first that has not failed since it last worked."""
        sound = (rung.engine.name for rung in self._in_order() if not rung.breaker.failures)
        return next(sound, None) or self.current

    @property
    def next(self) -> E:
        """The engine that is asked next. Raises as :meth:`attempts`."""
        return self._in_order()[0].engine

    def prefer(self, engine: E | Rung[E], *, before: str | None = None) -> None:
        """A better engine has come: work that begins from now on is its, or its before the engine of that name.

        What is known of the others stays.
        """
        names = [rung.engine.name for rung in self._rungs]
        place = 0 if before is None else names.index(before)
        self._rungs = (*self._rungs[:place], self._rung(engine), *self._rungs[place:])

    def start_without(self, error: PipelineError) -> None:
        """The preferred engine is known not to work yet: let it rest as after a failure."""
        self.on_failure(self._rungs[0].engine.name, error)
        self._rungs[0].breaker.failed(self.clock.now())

    def listen(self, listener: Callable[[float], object]) -> None:
        """Tell ``listener`` how sure each result is, where the engine tells."""
        self._listeners.append(listener)

    def tell(self, confidence: float | None) -> None:
        """A result is this sure."""
        if confidence is not None:
            for listener in self._listeners:
                listener(confidence)

    def plan(self, wishes: run.Wishes) -> list[run.Attempt]:
        """Who would be asked now and in which order, and who is passed over and why."""
        rungs = self._source()
        found = policy.order(self.need, wishes, self._conditions(rungs))
        return [
            *(rungs[choice.index].note(choice.reason) for choice in found.choices),
            *(rungs[one.index].note(one.reason, one.outcome) for one in found.passed),
        ]

    def attempts(
        self, preferred: E | None = None, able: Callable[[E], bool] = lambda engine: True
    ) -> Iterator[Attempt[E]]:
        """The attempts at one piece of work, as long as they fail: the engines as the policy orders them.

        Those that are not ``able`` are left out, unless none is. Raises the stage's error (``no_backend``) when the
        policy leaves nobody.
        """
        wishes = run.wishes.get()
        every = self._source()
        rungs = [rung for rung in every if not rung.is_here or able(rung.engine)]
        if not any(rung.is_here for rung in rungs):
            rungs = list(every)
        conditions = self._conditions(rungs, preferred)
        found = policy.order(self.need, wishes, conditions)
        if not found.choices:
            raise self.nobody(wishes, conditions, found)
        notes = Notes(self.clock.now())
        first = found.choices[0].index
        for passed in found.passed:
            if passed.expected:
                notes.passed(rungs[passed.index].note(passed.reason, passed.outcome))
        if found.first is not None and found.first != first:
            self.hand_on(rungs[found.first], rungs[first])
        left = list(found.choices)
        while left:
            choice, *left = left
            rung = rungs[choice.index]
            better = [one for one in left if one.sound and self._is_better(rungs[one.index], rung)]
            followers = Followers([rungs[one.index] for one in left], [rungs[one.index] for one in better])
            attempt = Attempt(self, rung, followers, rung.note(choice.reason), notes)
            attempt.stands_in = choice.index != found.first
            yield attempt
            while attempt.again:
                yield attempt
            if attempt.doubted:
                left = better

    async def obtain(
        self, attempts: Iterator[Attempt[E]], begin: Begin[E, T], discard: Discard[T]
    ) -> tuple[Attempt[E], T]:
        """The first usable result of ``attempts``, and whose it is.

        Where the policy checks the latency, the next engine begins beside one that has nothing usable in time; the
        first usable result is taken, and the others' work ends. Raises what the last one raised.
        """
        wait = policy.hedge_after(self.need, run.wishes.get())
        return await raced(attempts, begin, discard, self.clock, wait)

    def hand_on(self, origin: Rung[E], target: Rung[E]) -> None:
        """Count that work goes from one to the other: by their backends, or by their names within one backend."""
        backends = (origin.facts.backend, target.facts.backend)
        self.forwarded[backends if backends[0] != backends[1] else (origin.engine.name, target.engine.name)] += 1

    def nobody(self, wishes: run.Wishes, conditions: Sequence[policy.Condition], found: policy.Order) -> PipelineError:
        """The error for work that the policy leaves to nobody."""
        kind, target = self.errors[0], wishes.target_backend
        if target:
            could = list(dict.fromkeys(one.backend for one in conditions if not one.unable))
            own = [one.unable for one in conditions if one.is_called(target) and one.unable]
            why = f"{target}: {own[0]}" if own else unknown("backend", target, could)
            return kind("no_backend", f"X-Target-Backend: {why}; it could be done by {', '.join(could) or 'nobody'}")
        reasons = [f"{conditions[one.index].backend}: {one.reason}" for one in found.passed]
        return kind("no_backend", f"no backend can do it: {'; '.join(dict.fromkeys(reasons)) or 'there is none'}")

    async def keep_probing(self) -> None:
        """Ask engines that failed whether they work again, while others stand in; until cancelled."""
        while True:
            await self.clock.sleep(PROBE_SECONDS)
            for rung in self.rungs:
                engine: object = rung.engine
                now = self.clock.now()
                if isinstance(engine, Probed) and rung.breaker.due(now, PROBE_SECONDS):
                    rung.breaker.trial(now)
                    try:
                        with foreign_errors(*self.errors, rung.engine.name):
                            await engine.probe()
                    except PipelineError:
                        rung.breaker.failed(self.clock.now(), LONGEST_PROBE_REST)
                    else:
                        self.worked(rung)

    async def close(self) -> None:
        """Close every engine that is this route's own, which those of a function are not."""
        for rung in self._rungs:
            await rung.engine.close()

    def worked(self, rung: Rung[E]) -> None:
        """Its breaker closes, and it is told if it had failed."""
        had_failed = rung.breaker.failures > 0
        rung.breaker.worked()
        if had_failed:
            self.on_failure(rung.engine.name, None)

    def _is_better(self, other: Rung[E], doubted: Rung[E]) -> bool:
        """Whether ``other`` may know what ``doubted`` is not sure of."""
        if other.facts.standby or (doubted.facts.hardware == "remote" and other.facts.hardware != "remote"):
            return False
        sizes = (other.facts.size, doubted.facts.size)
        return not (self.larger_only and all(sizes) and sizes[0] <= sizes[1])

    def _rung(self, engine: E | Rung[E]) -> Rung[E]:
        return engine if isinstance(engine, Rung) else Rung(engine, rest=self.rest)

    def _conditions(self, rungs: Sequence[Rung[E]], preferred: E | None = None) -> list[policy.Condition]:
        now, forwarding = self.clock.now(), self.need.policy
        return [
            rung.condition(now, forwarding, named=preferred is not None and rung.is_here and rung.engine is preferred)
            for rung in rungs
        ]

    def _in_order(self) -> list[Rung[E]]:
        wishes, rungs = run.wishes.get(), self._source()
        conditions = self._conditions(rungs)
        found = policy.order(self.need, wishes, conditions)
        if not found.choices:
            raise self.nobody(wishes, conditions, found)
        return [rungs[choice.index] for choice in found.choices]
