"""Watches over the event loop: how late it is, and what it was that held it up.

Everything a session does passes through one loop, so code that blocks it for 40 ms is an audible gap for everybody.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import DefaultSelector
from types import CodeType, FrameType

from media.clock import Clock
from pipelines.runtime.worker import Worker

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.05
LATE_SECONDS = 0.02
"""Lateness from which it counts as blocked."""
WARN_EVERY_SECONDS = 60.0
_MOST_FRAMES = 3
_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(str(_ROOT / package) + "/" for package in ("media", "pipelines", "server"))
NOBODY = "nothing: the machine gave this process no time"


class LoopWatch:
    """A heartbeat on the loop, and a watcher on a worker that looks at the loop's stack when a beat is overdue.

    A block is noticed by what it adds to a beat, so one shorter than the beat may pass unseen. ``observe`` is given the
    lateness of every beat in seconds. ``ready`` is set once there may be anybody to hear a gap: what begins before that
    is only logged for those who look for it. ``None``: from the start.
    """

    def __init__(
        self, clock: Clock, observe: Callable[[float], None] = lambda _: None, ready: asyncio.Event | None = None
    ) -> None:
        self.longest = 0.0
        """Seconds of the longest delay so far."""
        self._clock = clock
        self._observe = observe
        self._ready = ready
        self._was_ready = ready is None
        """Whether it was at the last beat."""
        self._next: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When the next beat is due; read by the watcher."""
        self._caught: tuple[float, str] = (-1.0, "")
        """The beat the watcher found overdue, and what ran then."""
        self._warn_from = float("-inf")
        self._unsaid = 0

    async def run(self) -> None:
        """Watch the running loop until cancelled."""
        worker, running = Worker("loop-watch"), threading.Lock()
        below = {frame.f_code for frame in _stack(sys._getframe())} | {DefaultSelector.select.__code__}
        running.acquire()
        self._due = self._clock.now() + BEAT_SECONDS
        self._next = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat_again)
        try:
            await worker.run(self._watch, threading.get_ident(), below, running)
        finally:
            self._next.cancel()
            running.release()
            worker.close()

    def beat(self) -> None:
        """The loop has come round."""
        now, due = self._clock.now(), self._due
        self._due = now + BEAT_SECONDS
        late = max(0.0, now - due)
        self.longest = max(self.longest, late)
        self._observe(late)
        if late > LATE_SECONDS:
            self._tell(late, due, now)
        self._was_ready = self._was_ready or (self._ready is not None and self._ready.is_set())

    def _beat_again(self) -> None:
        """A bare timer: a task that sleeps would cost twice as much, twenty times a second."""
        self.beat()
        self._next = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat_again)

    def _tell(self, late: float, due: float, now: float) -> None:
        """At most one warning a minute: a loop in trouble must not be kept busy with saying so."""
        culprit = self._caught[1] if self._caught[0] == due else "something that had ended before anybody looked"
        if not self._was_ready:
            log.debug("before the server was ready the event loop was held up for %.0f ms by %s", late * 1000, culprit)
            return
        if now < self._warn_from:
            self._unsaid += 1
            return
        more = f"; {self._unsaid} more since the last warning" if self._unsaid else ""
        log.warning("the event loop was held up for %.0f ms by %s%s", late * 1000, culprit, more)
        self._warn_from, self._unsaid = now + WARN_EVERY_SECONDS, 0

    def _watch(self, thread: int, below: set[CodeType], running: threading.Lock) -> None:
        """On the worker: catch the loop's thread in the act, once for each beat that is overdue.

        ``running`` is held until the end; waiting for a lock is half the work of waiting for an event.
        """
        wait = BEAT_SECONDS
        while not running.acquire(timeout=wait):
            due = self._due
            overdue = self._clock.now() - due - LATE_SECONDS
            if overdue < 0:
                wait = -overdue
                continue
            if self._caught[0] != due:
                self._caught = due, culprit(sys._current_frames().get(thread), below)
            wait = BEAT_SECONDS


def culprit(frame: FrameType | None, below: set[CodeType]) -> str:
    """What a stack is busy with, innermost first: our own functions, or else those of others.

    ``below`` is the code of the loop itself and of what started it, which is on every stack.
    """
    busy = [frame for frame in _stack(frame) if frame.f_code not in below]
    named = [frame for frame in busy if frame.f_code.co_filename.startswith(_OURS)] or busy
    return " < ".join(_name(frame) for frame in named[:_MOST_FRAMES]) or NOBODY


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a stack, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else Path(*path.parts[-2:])
    return f"{shown}:{frame.f_lineno} {frame.f_code.co_qualname}"
