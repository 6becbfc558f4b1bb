"""A node's place among the others: its lease, what it knows of them, and whether the store can be asked at all."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Literal, Protocol

from media.clock import Clock
from server.cluster.credentials import Credentials, ForgedError
from server.cluster.roster import LEASE_SECONDS, Report, Roster, read_report
from server.cluster.store import Store, StoreAwayError

log = logging.getLogger(__name__)

Registry = Literal["connected", "away", "name taken"]
"""``name taken``: another node that lives has this one's name, so this one is in nobody's list."""


class Local(Protocol):
    """The sessions of this node, in one process or several."""

    @property
    def capacity(self) -> int:
        """How many there may be."""
        ...

    @property
    def used(self) -> int:
        """How many there are."""
        ...

    @property
    def begun(self) -> int:
        """How many there have been since the start."""
        ...

    @property
    def level(self) -> int:
        """How loaded it is besides, 0 to 4."""
        ...

    @property
    def delay_ms(self) -> float:
        """How late its event loop is."""
        ...

    @property
    def workers(self) -> int:
        """Processes with sessions."""
        ...

    def leave(self, seconds: float) -> None:
        """Take no sessions any more, and ask those that are here to go on elsewhere."""
        ...

    def replaced(self, session: str) -> None:
        """The conversation of a session goes on elsewhere."""
        ...


class Membership:
    """Owns the task that renews the lease. ``address``: where the others reach this node."""

    def __init__(
        self, name: str, address: str, store: Store, credentials: Credentials, clock: Clock, local: Local
    ) -> None:
        self.roster = Roster(name)
        self.name = name
        self.address = address
        self.draining = False
        self.registry: Registry = "away"
        self.renewals = 0
        """Of the lease, since the start."""
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self._local = local
        self._token = secrets.token_hex(8)
        self._number = 0
        self._started = credentials.now()
        self._refused: str | None = None
        """Why a lease was refused, as the log says."""
        self._told: Registry | None = None
        """What the log says."""
        self._renewing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the store answers."""
        return self.registry != "away"

    def report(self) -> Report:
        """This node, now."""
        local = self._local
        return Report(
            self.name,
            self.address,
            local.capacity,
            local.used,
            local.level,
            round(local.delay_ms, 1),
            self.draining,
            local.workers,
            self._number,
            local.begun,
            self._started,
            round(self._credentials.now(), 3),
        )

    def best(self, tried: set[str]) -> Report | None:
        """The node for the next session. Without a registry this one serves by itself."""
        own = self.report()
        if self.registry == "away":
            return own if own.name not in tried else None
        return self.roster.best(own, self._clock.now(), tried)

    def unreachable(self, name: str) -> None:
        """A node does not answer."""
        self.roster.unreachable(name, self._clock.now())

    # ------------------------------------------------------------------------------------------------ the lease

    async def start(self) -> None:
        """Take a place, if the store is there; and keep it."""
        await self.renew()
        self._task = asyncio.create_task(self._keep(), name="lease")

    async def renew(self) -> None:
        """Tell of this node and learn of the others. Never raises what the store raises."""
        async with self._renewing:
            self._number += 1
            text = self.report().to_text(self._credentials)
            try:
                held = await self._store.hold(self.name, self._token, text, LEASE_SECONDS)
                reports = await self._store.reports()
            except StoreAwayError as error:
                self._now("away", f"{str(error).rstrip('.')}; this node serves by itself, and running calls go on")
                return
            self.renewals += 1
            self.roster.told(self._read(reports), self._clock.now())
            self._now("connected" if held else "name taken", "another node has this one's name (node_name)")

    def _read(self, texts: list[str]) -> list[Report]:
        """Those that can be believed; of the others the log says once that there are some."""
        reports, problem = [], None
        for text in texts:
            try:
                reports.append(read_report(text, self._credentials))
            except ForgedError as error:
                problem = str(error)
        if (problem is None) != (self._refused is None):
            self._refused = problem
            log.warning("%s", problem) if problem else log.info("every node in the registry can be believed again")
        return reports

    async def drain(self) -> None:
        """From now on the others send no sessions here."""
        self.draining = True
        await self.renew()

    async def close(self) -> None:
        """Give the place up. Idempotent."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        if self.connected:
            with suppress(StoreAwayError):
                await self._store.release(self.name, self._token)

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(LEASE_SECONDS / 3)
            await self.renew()

    def _now(self, registry: Registry, problem: str) -> None:
        self.registry = registry
        if self._told == registry:
            return
        self._told = registry
        if registry == "connected":
            log.info("node %s has its place among %d", self.name, len(self.roster.peers) + 1)
        elif registry == "away":
            log.warning("the registry of nodes is away: %s", problem)
        else:
            log.error("node %s is in nobody's list: %s", self.name, problem)
