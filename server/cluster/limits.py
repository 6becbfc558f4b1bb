"""Rate limits that all nodes count together.

A request costs what it costs without: it is counted in this process, by what is known here. What was counted is told to
the store a moment later, in one go for all who have asked, and the store says how much each has used up at all nodes.
So the limit holds for the cluster, :data:`SHARE_SECONDS` late; what was let in too much meanwhile is waited for
afterwards. While the store is away each node counts by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from media.clock import Clock
from server.cluster.credentials import Credentials
from server.cluster.store import Store, StoreAwayError
from server.http.access.rate_limits import MOST_KNOWN, RateLimit

log = logging.getLogger(__name__)

SHARE_SECONDS = 0.25
"""After which the store hears what was counted."""
AT_ONCE = 500
"""Addresses or keys that it is told of in one go."""
AWAY_SECONDS = 1.0
"""For which a store is not told that has not answered. What was counted meanwhile stays this node's own."""


class SharedLimits:
    """Those of one process. Owns the task that tells of them."""

    def __init__(self, store: Store, credentials: Credentials, clock: Clock) -> None:
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self._limits: dict[str, RateLimit] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def share(self, limits: Mapping[str, RateLimit]) -> None:
        """Count these with all others of the same names, from now on."""
        self._limits.update(limits)
        for limit in limits.values():
            limit.share(self._news.set)
        if self._limits and self._task is None:
            self._task = asyncio.create_task(self._tell(), name="cluster-limits")

    async def close(self) -> None:
        """Count alone. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await self._clock.sleep(SHARE_SECONDS)
            self._news.clear()
            try:
                for kind, limit in self._limits.items():
                    await self._told(kind, limit)
            except StoreAwayError as error:
                log.debug("requests are counted here alone at this moment: %s", error)
                for limit in self._limits.values():
                    limit.untold(MOST_KNOWN)
                await self._clock.sleep(AWAY_SECONDS)

    async def _told(self, kind: str, limit: RateLimit) -> None:
        spent = limit.untold(AT_ONCE)
        if not spent:
            return
        names = [self._credentials.name(f"rate-{kind}", who) for who in spent]
        used = await self._store.spend(dict(zip(names, spent.values(), strict=True)))
        for who, seconds in zip(spent, used, strict=True):
            limit.learn(who, seconds)
