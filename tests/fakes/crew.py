"""Worker processes that are none: what the front writes is kept, and the test says what they tell."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from server.workers.messages import LONGEST_LINE


class _Pipe:
    """As much of a :class:`asyncio.StreamWriter` as the front uses."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.lines.append(data)

    def is_closing(self) -> bool:
        return self.closed


class FakeChild:
    """Implements :class:`server.workers.processes.nursery.Child`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stdin: Any = _Pipe()
        self.stdout = asyncio.StreamReader(limit=LONGEST_LINE)
        self.signals: list[int] = []
        self._ended = asyncio.Event()
        self._status = 0

    def tell(self, kind: str, **fields: object) -> None:
        """The worker says something."""
        self.stdout.feed_data(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def serve(self) -> None:
        """It is ready."""
        self.tell("ready", rows=[], missing=[])

    def load(self, sessions: int = 0, begun: int = 0) -> None:
        """It reports."""
        self.tell("load", sessions=sessions, begun=begun, delay_ms=0.0)

    def end(self, status: int = -9) -> None:
        """The process is gone."""
        if not self._ended.is_set():
            self._status = status
            self._ended.set()
            self.stdout.feed_eof()

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What the front has said of this kind, after the orders."""
        messages = [json.loads(line) for line in self.stdin.lines[1:]]
        return [message for message in messages if message["type"] == kind]

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.end()

    async def wait(self) -> int:
        await self._ended.wait()
        return self._status


class FakeNursery:
    """Implements :class:`server.workers.processes.nursery.Nursery`; ``children``: all of its own, oldest first."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.closed = False
        self.refused = 0
        """How often the system will refuse a process."""
        self.problem: Exception = OSError("Cannot allocate memory")
        """Why."""
        self.open = asyncio.Event()
        """While it is not set, no process comes."""
        self.open.set()

    async def start(self) -> Any:
        await self.open.wait()
        if self.refused:
            self.refused -= 1
            raise self.problem
        self.children.append(FakeChild(1000 + len(self.children)))
        return self.children[-1]

    async def close(self) -> None:
        self.closed = True
