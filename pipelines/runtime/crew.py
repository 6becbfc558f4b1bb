"""The threads of a worker, and what becomes of one that hangs: it is left behind, and another takes its place.

A thread cannot be ended from outside. One whose job takes longer than it may is abandoned: whoever waits for that job
is told (:class:`~pipelines.errors.EngineStuckError`), a new thread goes on with the jobs that wait, and the old one, if
it ever comes back, ends without touching another job. :data:`MOST_AWAY` bounds how many may be left behind; then the
worker has no thread more, and refuses, until one of them comes back and works again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from media.clock import Clock, MonotonicClock
from pipelines.errors import EngineStuckError
from pipelines.runtime.thread_names import name_thread
from pipelines.runtime.usage import LEDGER

log = logging.getLogger(__name__)

LOAD_SECONDS = 120.0
"""What a job may allow itself for loading a model."""
LOOK_SECONDS = 0.25
"""How often it is looked after jobs that take too long."""
MOST_AWAY = 3
"""Threads of one worker that may be left behind in jobs that do not end."""

AT_WORK = "at_work"
"""Attribute of a log record about the job of another thread: its worker, and for which sessions it is."""

_here = threading.local()


def allow(seconds: float) -> None:
    """The job in hand on this thread may take so many seconds from now: for steps longer, or jobs with more steps, than
    its worker's limit is meant for. Without effect elsewhere."""
    hand: Hand | None = getattr(_here, "hand", None)
    if hand is not None:
        hand.allow(seconds)


def at_work() -> tuple[str, Sequence[str]] | None:
    """The worker whose job this thread has in hand, and for which sessions it is; ``None`` elsewhere."""
    hand: Hand | None = getattr(_here, "hand", None)
    return (hand.worker, hand.sessions) if hand is not None and hand.since is not None else None


@dataclass(frozen=True, slots=True)
class Work:
    """What the threads of a worker have done since it was made; never goes back."""

    jobs: int = 0
    waited: float = 0.0
    """Seconds that these had waited when they began, in all."""
    busy: float = 0.0
    """Seconds in which threads had a job in hand, in all, those in hand now included."""


class Hand:
    """One thread, and until when the job in its hand may take. Made by :class:`Crew`."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.until: float | None = None
        self.give_up: Callable[[EngineStuckError], None] | None = None
        self.thread: threading.Thread | None = None
        self.abandoned = False
        self.since: float | None = None
        """When the job in hand began."""
        self.sessions: Sequence[str] = ()
        """For which it is."""

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self._crew.name

    def begin(
        self, give_up: Callable[[EngineStuckError], None], sessions: Sequence[str] = (), waited: float = 0.0
    ) -> None:
        """A job is in hand; ``give_up`` is called on the event loop if it hangs. ``sessions`` are those that it is for,
        ``waited`` the seconds that it was in the queue."""
        self.sessions = sessions
        with self._crew.lock:
            self.give_up = give_up
            self.until = self._crew.due()
            self.since = self._crew.clock.now()
            self._crew.began(waited)
        LEDGER.begins(self, self._crew.name, sessions, waited)

    def allow(self, seconds: float) -> None:
        """See :func:`allow`."""
        with self._crew.lock:
            if self.until is not None:
                self.until = self._crew.clock.now() + seconds

    def end(self) -> bool:
        """The job is over; whether this thread may take another one."""
        LEDGER.ends(self)
        with self._crew.lock:
            self._crew.ended(self)
            self.until = self.give_up = self.since = None
            self.sessions = ()
            return self._crew.stays(self) if not self.abandoned else self._crew.is_welcome(self)


class Crew:
    """``threads`` threads that each run ``serve(hand)``, which returns when the worker is closed or its hand says so.

    ``limit`` is how many seconds a job may take (see :func:`allow`); ``None``: as long as it likes.
    """

    def __init__(self, name: str, serve: Callable[[Hand], None], threads: int, limit: float | None) -> None:
        self.name = name
        self.limit = limit
        self.clock: Clock = MonotonicClock()
        self.lock = threading.Lock()
        self._serve = serve
        self._size = threads
        self._hired = 0
        self._hands: set[Hand] = set()
        self._away: set[Hand] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        self._work = Work()
        with self.lock:
            for _ in range(threads):
                self._hire()

    @property
    def threads(self) -> int:
        """Threads that work."""
        return len(self._hands)

    @property
    def size(self) -> int:
        """Threads that there are to be."""
        return self._size

    @property
    def away(self) -> int:
        """Threads left behind in jobs that have not ended yet."""
        return len(self._away)

    def work(self) -> Work:
        """What they have done."""
        now = self.clock.now()
        with self.lock:
            running = sum(now - hand.since for hand in self._hands if hand.since is not None)
            return Work(self._work.jobs, self._work.waited, self._work.busy + running)

    def resize(self, threads: int) -> int:
        """So many threads from now on: others are hired at once; those that are too many end when they next have
        finished a job. Returns how many are too many. On the event loop."""
        with self.lock:
            self._size = max(1, threads)
            while len(self._hands) < self._size and len(self._away) <= MOST_AWAY:
                self._hire()
            return len(self._hands) - self._size

    def check(self) -> None:
        """Before a job is handed in, on the event loop. Raises :class:`EngineStuckError` when no thread is left."""
        if not self._hands:
            raise EngineStuckError("engine_stuck", f"all threads of the {self.name} worker hang")
        loop = asyncio.get_running_loop()
        if self.limit is not None and self._loop is not loop:
            self._loop = loop
            self._look_later()

    def close(self) -> None:
        """Look after the threads no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Leave threads behind whose jobs take too long. On the event loop."""
        late: list[tuple[Hand, Callable[[EngineStuckError], None]]] = []
        now = self.clock.now()
        with self.lock:
            for hand in list(self._hands):
                if hand.until is not None and hand.give_up is not None and now >= hand.until:
                    late.append((hand, hand.give_up))
                    self._leave(hand)
        for hand, give_up in late:
            self._tell(hand)
            give_up(EngineStuckError("engine_stuck", f"the {self.name} worker hung in this job"))
            with self.lock:  # only now: whoever goes on must find what has been given up as given up
                if len(self._away) <= MOST_AWAY and len(self._hands) < self._size:
                    self._hire()

    # ---- for the hands, under the lock

    def due(self) -> float | None:
        """Until when a job that begins now may take."""
        return None if self.limit is None else self.clock.now() + self.limit

    def is_welcome(self, hand: Hand) -> bool:
        """Whether a thread that has come back after all may work again."""
        self._away.discard(hand)
        if len(self._hands) >= self._size:
            return False
        hand.abandoned = False
        self._hands.add(hand)
        return True

    def stays(self, hand: Hand) -> bool:
        """Whether a thread whose job is over may take another one: not if there are too many."""
        if len(self._hands) <= self._size:
            return True
        self._hands.discard(hand)
        return False

    def began(self, waited: float) -> None:
        """One of them has begun a job."""
        self._work = Work(self._work.jobs + 1, self._work.waited + max(0.0, waited), self._work.busy)

    def ended(self, hand: Hand) -> None:
        """One of them has finished, or given up, its job."""
        if hand.since is not None and not hand.abandoned:
            busy = self._work.busy + self.clock.now() - hand.since
            self._work = Work(self._work.jobs, self._work.waited, busy)

    # ---- inside

    def _tell(self, hand: Hand) -> None:
        """Log it with the place where the thread is, as if that had raised; :data:`AT_WORK` says who was at it."""
        error = EngineStuckError("engine_stuck", "it hangs here").with_traceback(_place(hand.thread))
        about = {AT_WORK: (self.name, hand.sessions)}
        log.error("the %s worker hangs; its thread is left behind", self.name, exc_info=error, extra=about)

    def _leave(self, hand: Hand) -> None:
        hand.abandoned = True
        self._hands.remove(hand)
        self._away.add(hand)

    def _hire(self) -> None:
        hand = Hand(self)
        self._hands.add(hand)
        name = f"{self.name}-{self._hired}"
        self._hired += 1
        hand.thread = threading.Thread(target=self._run, args=(hand,), name=name, daemon=True)
        hand.thread.start()

    def _run(self, hand: Hand) -> None:
        _here.hand = hand
        name_thread(self.name)
        self._serve(hand)

    def _look_later(self) -> None:
        assert self._loop is not None
        self._looked_at = self.clock.now()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look_now)

    def _look_now(self) -> None:
        overslept = self.clock.now() - self._looked_at - LOOK_SECONDS
        if overslept > LOOK_SECONDS:  # the process was stopped or starved, and so were its threads
            with self.lock:
                for hand in self._hands:
                    hand.until = None if hand.until is None else hand.until + overslept
        self.look()
        self._look_later()


def _place(thread: threading.Thread | None) -> TracebackType | None:
    """Where the thread is, outermost first; ``None``: not known."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    place: TracebackType | None = None
    while frame is not None:
        place = TracebackType(place, frame, frame.f_lasti, frame.f_lineno or 0)
        frame = frame.f_back
    return place
