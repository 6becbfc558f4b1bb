"""The connections to other nodes, and whether one that says nothing still lives.

A process that is killed breaks its connections. One that stands still (SIGSTOP, a machine that is frozen or has lost
its network) does not: whoever waits for its answer would wait for ever. So while a request waits for a node whose lease
has ended, the node is asked ``GET /healthz``, by one for all of them, and where it does not answer all are let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from media.clock import Clock
from server.cluster.membership import Membership
from server.workers.passing import Passing

PULSE_SECONDS = 0.5
"""Between looks at a node that requests wait for."""
PROBE_SECONDS = 1.0
"""For a node in doubt to answer ``GET /healthz``."""
MOST_MISSED = 3
"""Questions in a row that a node may leave unanswered of whose lease nobody can tell, as the registry is away."""


class Pulse:
    """One other node's. ``doubt``: how many unanswered questions say that it stands still, or ``None`` while nothing
    speaks for it; ``ask``: whether it answers one."""

    def __init__(self, doubt: Callable[[], int | None], ask: Callable[[], Awaitable[bool]], clock: Clock) -> None:
        self._doubt = doubt
        self._ask = ask
        self._clock = clock
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def stopped(self) -> bool:
        """Whether it was found to stand still."""
        return self._stopped

    @contextmanager
    def felt(self) -> Iterator[Callable[[], bool]]:
        """While a request waits; gives :meth:`stopped`."""
        self._waiting += 1
        if self._task is None:
            self._task = asyncio.create_task(self._feel(), name="pulse")
        try:
            yield self.stopped
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()
                self._task, self._stopped = None, False

    async def _feel(self) -> None:
        missed = 0
        while True:
            await self._clock.sleep(PULSE_SECONDS)
            enough = self._doubt()
            missed = 0 if enough is None or await self._ask() else missed + 1
            self._stopped = enough is not None and missed >= enough


@dataclass(frozen=True, slots=True)
class Way:
    """To one other node."""

    passing: Passing
    pulse: Pulse


class Ways:
    """Those to all others. ``connect`` makes the connections to a node of this name and address."""

    def __init__(self, membership: Membership, connect: Callable[[str, str], Passing], clock: Clock) -> None:
        self._membership = membership
        self._connect = connect
        self._clock = clock
        self._ways: dict[tuple[str, str], Way] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def to(self, name: str, address: str) -> Way:
        """The way to a node."""
        way = self._ways.get((name, address))
        if way is None:
            self._let_go()
            passing = self._connect(name, address)
            pulse = Pulse(lambda: self._doubt(name), lambda: _answers(passing), self._clock)
            way = self._ways[name, address] = Way(passing, pulse)
        return way

    async def close(self) -> None:
        """End all of them. Idempotent."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        for way in self._ways.values():
            await way.passing.close()

    def _doubt(self, name: str) -> int | None:
        """As for :class:`Pulse`."""
        if not self._membership.connected:
            return MOST_MISSED
        peer = self._membership.roster.find(name)
        return 1 if peer is None or peer.gone_since is not None else None

    def _let_go(self) -> None:
        """Close the connections to nodes that nobody knows any more: another has come, and they have new names."""
        known = {(peer.report.name, peer.report.address) for peer in self._membership.roster.peers}
        for place in [place for place in self._ways if place not in known]:
            task = asyncio.create_task(self._ways.pop(place).passing.close(), name="way")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _answers(passing: Passing) -> bool:
    """Whether it answers at all, whatever it says."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await passing.fetch("/healthz", {})
    except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError):  # the last: nobody knows it any more
        return False
    return True
