"""One worker process as the front has it: starting it, its messages, and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipelines.runtime.child_process import CHILDREN
from server.workers.board import Seat, told
from server.workers.messages import FromFront, Orders, line, read
from server.workers.processes.nursery import Child, Nursery

log = logging.getLogger(__name__)

ADOPT_SECONDS = 2.0
"""For a worker to take a conversation up."""
OPEN_SECONDS = 5.0
"""For a worker to open the ports of other protocols."""
LAST_WORDS = getattr(signal, "SIGUSR2", None)
"""Upon this a worker prints where its threads are."""
Message = dict[str, Any]
_OPENED = "the doors"


class WorkerFailedError(Exception):
    """A worker has ended before it served; says why."""


class WorkerProcess:
    """Lives from :meth:`start` to the end of :meth:`run`. ``seat`` is kept up to date; ``hear`` is told every message
    after that."""

    def __init__(self, orders: Orders, seat: Seat, hear: Callable[[Message], object] = lambda message: None) -> None:
        self.orders = orders
        self.seat = seat
        self.rows: list[dict[str, Any]] = []
        """What runs where, once it is ready."""
        self.missing: list[str] = []
        self.served = False
        """Whether it has ever been ready."""
        self._hear = hear
        self._child: Child | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        """For a conversation to be taken up, or for :data:`_OPENED`."""
        self._problem = ""

    @property
    def number(self) -> int:
        """The worker's."""
        return self.orders.number

    async def start(self, nursery: Nursery) -> None:
        """Start the process. Raises :class:`OSError`."""
        try:
            self._child = await nursery.start()
        except RuntimeError as error:  # what Python raises where the system refuses a thread
            raise OSError(f"no process: {error}") from error
        CHILDREN.add(self._child)
        self.seat.pid = self._child.pid
        self._write(self.orders.to_line())

    async def run(self) -> int:
        """Read what it tells until it has ended; returns its exit status."""
        assert self._child is not None
        try:
            while text := await self._line(self._child.stdout):
                try:
                    self._take(read(text))
                except (KeyError, TypeError, ValueError, asyncio.InvalidStateError) as error:
                    log.warning("worker %d has said what cannot be understood (%s)", self.number, type(error).__name__)
        finally:
            self._child.kill()
            status = await self._child.wait()
            CHILDREN.discard(self._child)
            if not self._ready.done():
                self._ready.set_exception(WorkerFailedError(self._problem or f"it ended with status {status}"))
                self._ready.exception()  # nobody may be waiting
            for waiting in self._waiting.values():
                waiting.cancel()
            with suppress(OSError):
                self.orders.socket.unlink(missing_ok=True)
        return status

    async def _line(self, told: asyncio.StreamReader) -> bytes:
        """What it says next; nothing where it has ended, or says more at once than any of ours would."""
        try:
            return await told.readline()
        except ValueError:
            log.error("worker %d has said too much at once and is ended", self.number)
            return b""

    async def ready(self) -> None:
        """Wait until it serves. Raises :class:`WorkerFailedError`."""
        await asyncio.shield(self._ready)

    async def adopt(self, session: str, state: str) -> None:
        """Let it take up a conversation; one that does not answer in time begins anew."""
        self.send("adopt", session=session, state=state)
        await self._answered(session, ADOPT_SECONDS)

    async def open_doors(self) -> None:
        """Give it the ports of other protocols; one that does not answer in time has them all the same."""
        self.send("open")
        await self._answered(_OPENED, OPEN_SECONDS)

    async def _answered(self, what: str, seconds: float) -> None:
        waiting = self._waiting.setdefault(what, asyncio.get_running_loop().create_future())
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(waiting), seconds)
        self._waiting.pop(what, None)

    def send(self, kind: FromFront, **fields: object) -> None:
        """Tell it something; one that has ended hears nothing."""
        self._write(line(kind, **fields))

    def explain(self) -> None:
        """Let it print where its threads are: it hangs, and will be ended."""
        if self._child is not None and LAST_WORDS is not None:
            self._child.signal(LAST_WORDS)

    def kill(self) -> None:
        """End it by force. Idempotent."""
        if self._child is not None:
            self._child.kill()

    def _write(self, text: bytes) -> None:
        if self._child is not None and not self._child.stdin.is_closing():
            self._child.stdin.write(text)

    def _take(self, message: Message) -> None:
        told(self.seat, message)
        match message.get("type"):
            case "ready":
                self.rows, self.missing = message["rows"], message["missing"]
                self._ready.set_result(None)
                self.served = True
            case "failed":
                self._problem = str(message["message"])
            case "adopted":
                self._has_answered(str(message["session"]))
            case "opened":
                self._has_answered(_OPENED)
        self._hear(message)

    def _has_answered(self, what: str) -> None:
        waiting = self._waiting.get(what)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
