"""One engine's attempt at a piece of work, and what is written down of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from media.clock import Clock
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.routing import policy, run
from pipelines.routing.routes.breaker import RestPolicy
from pipelines.routing.routes.rung import Engine, Rung
from pipelines.runtime.usage import LEDGER
from pipelines.runtime.worker import session

E = TypeVar("E", bound=Engine)
MOST_NOTES = 64
"""Attempts that are written down of one stage."""


class UnsureError(Exception):
    """A result that does only if nobody has a better one: ``value``, 0–1 how sure it is, and why it does not do."""

    def __init__(self, value: Any, confidence: float, message: str) -> None:
        super().__init__(message)
        self.value = value
        self.confidence = confidence
        self.message = message


class Notes:
    """Where attempts at one piece of work are written down, if anybody reads it. ``now`` in seconds."""

    def __init__(self, now: float) -> None:
        self._record = run.record.get()
        self._tried = run.tried.get()
        self._numbers = count()
        if self._record is not None and self._record.begun is None:
            self._record.begun = now

    def next(self) -> int:
        """The number of the next attempt."""
        return next(self._numbers)

    def since(self, now: float) -> float:
        """Seconds since the stage's beginning."""
        begun = self._record.begun if self._record is not None else None
        return 0.0 if begun is None else now - begun

    def passed(self, note: run.Attempt) -> None:
        """It was passed over; told once for all the pieces of work of a stage."""
        record = self._record
        if record is not None and not any(_same(note, other) for other in record.attempts):
            self.add(note)
        elif self._tried is not None:
            self._tried.append(note)

    def add(self, note: run.Attempt) -> None:
        """It is asked."""
        if self._tried is not None:
            self._tried.append(note)
        if self._record is not None and len(self._record.attempts) < MOST_NOTES:
            self._record.attempts.append(note)

    def served(self, note: run.Attempt) -> None:
        """It served; one that has served before is not told twice, as of the clauses of one answer."""
        record = self._record
        if record is None:
            return
        earlier = next((other for other in record.attempts if other is not note and _same(note, other)), None)
        if earlier is not None and note in record.attempts[-1:]:
            record.attempts.pop()
            earlier.seconds = None if note.seconds is None else note.started + note.seconds - earlier.started


def _same(one: run.Attempt, other: run.Attempt) -> bool:
    return (one.backend, one.model, one.outcome) == (other.backend, other.model, other.outcome)


class Desk(Protocol):
    """What an attempt needs of its route."""

    clock: Clock
    rest: RestPolicy
    need: policy.Need
    jitter: Callable[[], float]
    callers_fault: ClassVar[frozenset[str]]
    hopeless: ClassVar[frozenset[str]]
    passing: ClassVar[frozenset[str]]
    refusing: ClassVar[frozenset[str]]

    @property
    def on_failure(self) -> Callable[[str, PipelineError | None], None]:
        """Is told of failures."""
        ...

    def hand_on(self, origin: Rung[Any], target: Rung[Any]) -> None:
        """Count it."""
        ...

    def worked(self, rung: Rung[Any]) -> None:
        """It works."""
        ...

    def tell(self, confidence: float | None) -> None:
        """How sure a result is."""
        ...


@dataclass(frozen=True, slots=True)
class Followers(Generic[E]):
    """Who is asked next."""

    all: Sequence[Rung[E]]
    """After a failure."""
    better: Sequence[Rung[E]]
    """After a result that is not sure enough: those that may know better, and work."""


class Attempt(Generic[E]):
    """One engine's attempt at a piece of work, and, where it is asked again, that as well.

    As a context manager it is the whole of it: an error in the block is told, and swallowed when another attempt is
    left to be made. Where the work is more than a block, call :meth:`worked`, :meth:`failed` or :meth:`released`.
    """

    def __init__(self, route: Desk, rung: Rung[E], followers: Followers[E], note: run.Attempt, notes: Notes) -> None:
        self.engine = rung.engine
        self.stands_in = False
        """Whether a better engine has failed or rests."""
        self.again = False
        """Whether it failed, and the same engine is asked again next."""
        self.doubted = False
        """Whether its result was not sure enough."""
        self.confidence: float | None = None
        """How sure its result is, 0–1; for whoever asks the engine to set where that tells."""
        self.note = note
        self._route = route
        self._rung = rung
        self._followers = followers
        self._notes = notes
        self._number = notes.next()
        self._at_once = route.rest.retries
        self._retries = 0
        self._chances = route.rest.last_chances
        self._pause = 0.0
        self._final = False
        self._busy = True
        self._failures = rung.breaker.failures
        now = route.clock.now()
        self._began = self._begun = now
        self._on_trial = self._failures > 0 and rung.breaker.admits(now)
        if self._on_trial:
            rung.breaker.trial(now)
        rung.begins()
        note.started = notes.since(now)
        notes.add(note)

    @property
    def can_be_doubted(self) -> bool:
        """Whether somebody is left who may know better."""
        return bool(self._followers.better)

    @property
    def has_followers(self) -> bool:
        """Whether anybody is left to be asked."""
        return bool(self._followers.all)

    async def ready(self) -> None:
        """Wait until it may be asked: at once but for a repetition that the stage's policy has delayed."""
        pause, self._pause = self._pause, 0.0
        if self.again:
            self.again = False
            self._began = self._route.clock.now() + pause
        if pause > 0:
            await self._route.clock.sleep(pause)

    def once(self) -> None:
        """What begins now is not repeated at once if it fails, but only as the stage's policy says."""
        self._at_once = 0

    def goes_on(self) -> None:
        """It has come farther than where it failed: the next failure is another one, and repeated at once as the first
        was."""
        self._at_once = self._route.rest.retries

    def commit(self, final: bool = True) -> None:
        """What has been given cannot be taken back: if the engine fails from now on, no other one is asked."""
        self._final = final

    def serves(self) -> None:
        """Its first usable result is taken."""
        now = self._route.clock.now()
        self._rung.took(now - self._began, now)
        LEDGER.answered(self.engine.name, now - self._began)
        self.note.outcome, self.note.confidence = "served", self.confidence
        if not self.doubted:
            self._route.tell(self.confidence)

    def worked(self) -> None:
        """The work, or a part of it that counts, is done."""
        self._route.worked(self._rung)
        self._failures, self._on_trial = 0, False
        self._end("served")
        self._notes.served(self.note)

    def unsure(self, doubt: UnsureError) -> bool:
        """Its result does only if nobody has a better one. Returns whether another attempt is left."""
        self.doubted, self.confidence = True, doubt.confidence
        self._route.worked(self._rung)
        self._failures, self._on_trial = 0, False
        self._route.tell(doubt.confidence)
        self.note.confidence, self.note.message = doubt.confidence, doubt.message
        self._end("unsure")
        better = next(iter(self._followers.better), None)
        if better is not None:
            self._route.hand_on(self._rung, better)
        return better is not None

    def failed(self, error: PipelineError) -> bool:
        """Tell of ``error``, count it and let the engine rest. Returns whether another attempt is left.

        The same engine may be asked again first. If others found out at the same time that it fails, it rests no longer
        for it.
        """
        route, name = self._route, self.engine.name
        self.again = False
        self.note.message = error.message
        self.note.outcome = "failed"
        if error.code in route.callers_fault:
            self.released("failed")
            return False
        refused = error.code in route.refusing
        if not refused:
            LEDGER.failed(name, session.get())
            route.on_failure(name, error)
        if not self._final and not refused and error.code not in route.hopeless and self._repeats(error):
            return True
        successor = None if self._final else next(iter(self._followers.all), None)
        if successor is not None:
            route.hand_on(self._rung, successor)
        if isinstance(error, EngineBusyError):
            self.released("busy")
        elif refused:
            self.released("failed")
        else:
            if self._rung.breaker.failures == self._failures:
                self._rung.breaker.failed(route.clock.now())
                self._on_trial = False
            self._end("failed")
        return successor is not None

    def released(self, outcome: run.Outcome = "cancelled") -> None:
        """The work was given up; nothing is known of the engine. Of no effect on what has been done."""
        if self._on_trial:
            self._rung.breaker.released()
            self._on_trial = False
        self._end(outcome)

    def lost(self, winner: Attempt[E] | None) -> None:
        """``winner`` was first, or all are given up. It was late if the other one was started because of that."""
        if winner is None or winner._number < self._number:
            self.released()
            return
        now = self._route.clock.now()
        self._rung.took(now - self._began, now)
        self._route.hand_on(self._rung, winner._rung)
        self.note.message = f"{winner.engine.name}, started beside it, was first"
        self.released("late")

    def _repeats(self, error: PipelineError) -> bool:
        """Whether the same engine is asked again."""
        if self._at_once > 0:
            self._at_once -= 1
            self.again = True
            return True
        pause = policy.retry_after(self._route.need.policy, self._retries, self._route.jitter())
        if pause is not None:
            self._retries += 1
        else:
            pause = self._last_chance(error)
        if pause is None:
            return False
        self._pause, self.again = pause, True
        return True

    def _last_chance(self, error: PipelineError) -> float | None:
        """Seconds until an engine that worked before is asked again, as otherwise the work is lost; ``None``: it is."""
        if not self._chances or self._failures or self._followers.all or error.code not in self._route.passing:
            return None
        self._chances -= 1
        used = self._route.rest.last_chances - self._chances - 1
        return policy.pause_before(used, self._route.jitter())

    def _end(self, outcome: run.Outcome) -> None:
        if not self._busy:
            return
        self._busy = False
        self._rung.ends()
        self.note.outcome = outcome
        now = self._route.clock.now()
        LEDGER.used(self.engine.name, session.get(), now - self._begun)
        self.note.seconds = self._notes.since(now) - self.note.started

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
