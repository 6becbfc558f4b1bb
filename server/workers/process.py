"""One worker process as the front has it: starting it, its messages, and its end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipelines.runtime.child_process import CHILDREN, ChildProcess
from server.workers.board import Seat, told
from server.workers.messages import LONGEST_LINE, FromFront, Orders, line, read

log = logging.getLogger(__name__)

ADOPT_SECONDS = 2.0
"""For a worker to take a conversation up."""
Command = tuple[str, ...]
COMMAND: Command = (sys.executable, "-m", "server.workers.main")


class WorkerFailedError(Exception):
    """A worker has ended before it served; says why."""


class WorkerProcess:
    """Lives from :meth:`start` to the end of :meth:`run`. ``seat`` is kept up to date; ``news`` hears of downloads."""

    def __init__(self, orders: Orders, seat: Seat, news: Callable[[list[Any]], object] = lambda progress: None) -> None:
        self.orders = orders
        self.seat = seat
        self.rows: list[dict[str, Any]] = []
        """What runs where, once it is ready."""
        self.missing: list[str] = []
        self._news = news
        self._child: ChildProcess | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._adopting: dict[str, asyncio.Future[None]] = {}
        self._problem = ""

    @property
    def number(self) -> int:
        """The worker's."""
        return self.orders.number

    async def start(self, command: Command = COMMAND) -> None:
        """Start the process. Raises :class:`OSError`."""
        self._child = await ChildProcess.start(command, longest_line=LONGEST_LINE)
        CHILDREN.add(self._child)
        self.seat.pid = self._child.pid
        self._write(self.orders.to_line())

    async def run(self) -> int:
        """Read what it tells until it has ended; returns its exit status."""
        assert self._child is not None
        try:
            while text := await self._child.stdout.readline():
                self._take(read(text))
        finally:
            self._child.kill()
            status = await self._child.wait()
            CHILDREN.discard(self._child)
            if not self._ready.done():
                self._ready.set_exception(WorkerFailedError(self._problem or f"it ended with status {status}"))
                self._ready.exception()  # nobody may be waiting
            for waiting in self._adopting.values():
                waiting.cancel()
            with suppress(OSError):
                self.orders.socket.unlink(missing_ok=True)
        return status

    async def ready(self) -> None:
        """Wait until it serves. Raises :class:`WorkerFailedError`."""
        await asyncio.shield(self._ready)

    async def adopt(self, session: str, state: str) -> None:
        """Let it take up a conversation; one that does not answer in time begins anew."""
        waiting = self._adopting.setdefault(session, asyncio.get_running_loop().create_future())
        self.send("adopt", session=session, state=state)
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(waiting), ADOPT_SECONDS)
        self._adopting.pop(session, None)

    def send(self, kind: FromFront, **fields: object) -> None:
        """Tell it something; one that has ended hears nothing."""
        self._write(line(kind, **fields))

    def kill(self) -> None:
        """End it by force. Idempotent."""
        if self._child is not None:
            self._child.kill()

    def _write(self, text: bytes) -> None:
        if self._child is not None and not self._child.stdin.is_closing():
            self._child.stdin.write(text)

    def _take(self, message: dict[str, Any]) -> None:
        told(self.seat, message)
        match message.get("type"):
            case "arrivals":
                self._news(message["progress"])
            case "ready":
                self.rows, self.missing = message["rows"], message["missing"]
                self._ready.set_result(None)
            case "failed":
                self._problem = str(message["message"])
            case "adopted" if (waiting := self._adopting.get(str(message["session"]))) is not None:
                if not waiting.done():
                    waiting.set_result(None)
