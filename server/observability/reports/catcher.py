"""Notices unexpected errors where they are logged with their exception, which all are that nobody has handled.

A record of level ``error`` that carries an exception is a defect: a task that died, an engine that failed, a session
that ended by an error. What is expected is logged without one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from media.clock import Clock
from pipelines.runtime.crew import AT_WORK, at_work
from pipelines.runtime.worker import Worker, session
from server.observability.reports.redaction import HOUSES
from server.observability.reports.report import Circumstances, report
from server.observability.reports.store import Reports

MOST_WAITING = 64
"""Reports that may wait to be written; the oldest are dropped."""
WRITE_SECONDS = 0.5
"""Between looks at whether there is something to write."""
MOST_A_MINUTE = 120
"""Errors that are looked at: one that comes a thousand times a second must not keep the server busy."""
MOST_REPORTED_TYPES = 64
"""Types of errors that are counted apart."""


class Catcher(logging.Handler):
    """A handler of the root logger. Never raises, never waits; any thread."""

    def __init__(self, about: Circumstances, clock: Clock) -> None:
        super().__init__(logging.ERROR)
        self.waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self.kinds: Counter[str] = Counter()
        """How many of each type were noticed; a few hundred types at most."""
        self.passed_over = 0
        """Errors that were too many."""
        self._about = about
        self._clock = clock
        self._since, self._count = clock.now(), 0
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or getattr(self._busy, "on", False):
            return
        self._busy.on = True
        try:
            if self._may_look():
                self.waiting.append(self._report(error, record))
        except Exception:  # noqa: BLE001 - whatever is wrong with it: the error itself has been logged
            self.passed_over += 1
        finally:
            self._busy.on = False

    def _report(self, error: BaseException, record: logging.LogRecord) -> dict[str, Any]:
        engine, sessions = getattr(record, AT_WORK, None) or at_work() or ("", (session.get(),))
        whose = sessions[0] if len(sessions) == 1 else ""
        made = report(error, self._about, session=whose, engine=engine, part=_module(record.name))
        kind = made["type"]
        self.kinds[kind if kind in self.kinds or len(self.kinds) < MOST_REPORTED_TYPES else "other"] += 1
        return made

    def _may_look(self) -> bool:
        now = self._clock.now()
        if now - self._since >= 60.0:
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MOST_A_MINUTE:
            self.passed_over += 1
            return False
        return True


def _module(logger: str) -> str:
    """The name of a logger that is a module; others may be called anything."""
    return logger if logger in sys.modules and logger.partition(".")[0] in (*HOUSES, "asyncio", "aiohttp") else ""


@asynccontextmanager
async def catching(catcher: Catcher, reports: Reports, clock: Clock) -> AsyncIterator[None]:
    """Notice errors from here on, and write them down beside all else."""
    worker = Worker("error-reports", inbox=8)
    root = logging.getLogger()
    root.addHandler(catcher)
    task = asyncio.create_task(_writing(catcher, reports, worker, clock), name="error-reports")
    try:
        yield
    finally:
        root.removeHandler(catcher)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await worker.run(_write, catcher, reports)
        worker.close()


async def _writing(catcher: Catcher, reports: Reports, worker: Worker, clock: Clock) -> None:
    while True:
        await clock.sleep(WRITE_SECONDS)
        if catcher.waiting:
            await worker.run(_write, catcher, reports)


def _write(catcher: Catcher, reports: Reports) -> None:
    """All that waits; where one cannot be written the rest is given up: a folder that another process has locked must
    not keep this one from ending."""
    with suppress(IndexError):
        while reports.add(catcher.waiting.popleft()):
            pass
        catcher.waiting.clear()
