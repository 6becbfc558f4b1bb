"""What this process writes into the store, one after another and never in the way of anything else.

What waits is bounded; of what is told again only the newest is written. A store that is away or slow holds up this
task alone: what has changed meanwhile is written when it is back, and what the store has forgotten is written again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from media.clock import Clock
from server.cluster.credentials import Credentials
from server.cluster.store import Store, StoreAwayError
from server.resumption import KEPT_SECONDS

log = logging.getLogger(__name__)

LARGEST_WAITING = 32 << 20
"""Bytes that may wait; the oldest is given up for what is newer."""
AT_ONCE = 32
TOUCH_SECONDS = 5.0
"""Between two times that what is to stay is said to stay."""
MEMORY_SECONDS = KEPT_SECONDS + 2 * TOUCH_SECONDS
"""For which a conversation is kept after the last word of its process."""
RETRY_SECONDS = 0.5
_MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class _Item:
    plain: bytes | None
    """``None``: it is kept no longer."""
    seconds: float = 0.0


class Writer:
    """``store`` may be away. Owns the task that writes."""

    def __init__(self, store: Store, credentials: Credentials, clock: Clock) -> None:
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self._waiting: dict[str, _Item] = {}
        self._size = 0
        self._living: dict[str, bytes] = {}
        """Conversations of sessions that live or were just over, as told last."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving = False
        self.dropped = 0
        """What was given up since the start because too much waited."""
        self.written = 0
        self.away = False
        """Whether the store did not answer, the last time that it was asked by this task."""

    @property
    def waiting(self) -> int:
        """How much waits."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            asyncio.create_task(self._write(), name="cluster-writer"),
            asyncio.create_task(self._touch(), name="cluster-touch"),
        ]

    async def close(self) -> None:
        """Write what waits, if it can be done within a moment, and end. Idempotent."""
        await self.flush(1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # ------------------------------------------------------------------------------------------------ told

    def keep(self, session: str, state: str) -> None:
        """What a session remembers, now. It stays while its process says so, and for the time to resume it."""
        self._living[session] = state.encode()
        self._later(self._memory(session), _Item(self._living[session], MEMORY_SECONDS))

    def forget(self, session: str) -> None:
        """Nobody goes on with it any more; but what is forgotten because this process ends stays until it expires."""
        if self._living.pop(session, None) is not None and not self._leaving:
            self._later(self._memory(session), _Item(None))

    def leave(self) -> None:
        """This process is about to end: its conversations go on elsewhere."""
        self._leaving = True

    def put(self, kind: str, name: str, plain: bytes, seconds: float) -> None:
        """Keep something else."""
        self._later(self._credentials.name(kind, name), _Item(plain, seconds))

    async def flush(self, seconds: float) -> None:
        """Wait until all is written, but not longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    def _memory(self, session: str) -> str:
        return self._credentials.name(_MEMORY, session)

    def _later(self, name: str, item: _Item) -> None:
        before = self._waiting.pop(name, None)
        self._size += _size(item) - (_size(before) if before is not None else 0)
        self._waiting[name] = item
        while self._size > LARGEST_WAITING and len(self._waiting) > 1:
            oldest = next(iter(self._waiting))
            self._size -= _size(self._waiting.pop(oldest))
            self.dropped += 1
        self._idle.clear()
        self._wake.set()

    # ------------------------------------------------------------------------------------------------ read

    async def memory(self, session: str) -> str | None:
        """What a session remembers, of whichever node. Raises :class:`StoreAwayError`."""
        found = await self.find(_MEMORY, session)
        return found.decode() if found is not None else None

    async def find(self, kind: str, name: str) -> bytes | None:
        """What is kept of that kind and name. Raises :class:`StoreAwayError` and
        :class:`~server.cluster.credentials.ForgedError`."""
        key = self._credentials.name(kind, name)
        sealed = (await self._store.get([key]))[0]
        return self._credentials.unseal(key, sealed) if sealed is not None else None

    def taken(self, session: str) -> None:
        """A conversation goes on in another session: nobody else is to go on with it."""
        self._living.pop(session, None)
        self._later(self._memory(session), _Item(None))

    # ------------------------------------------------------------------------------------------------ writing

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            batch = {name: self._waiting[name] for name in list(self._waiting)[:AT_ONCE]}
            try:
                await self._send(batch)
            except StoreAwayError as error:
                self._is_away(error)
                await self._clock.sleep(RETRY_SECONDS)
                continue
            self.written += len(batch)
            for name, item in batch.items():
                if self._waiting.get(name) is item:  # nothing newer has come meanwhile
                    self._size -= _size(self._waiting.pop(name))
            if not self._waiting:
                self._wake.clear()
                self._idle.set()
            if self.away:
                self.away = False
                log.info("conversations are kept for other nodes again")

    async def _send(self, batch: dict[str, _Item]) -> None:
        groups: dict[float, dict[str, bytes]] = {}
        for name, item in batch.items():
            if item.plain is not None:
                groups.setdefault(item.seconds, {})[name] = self._credentials.seal(name, item.plain)
        for seconds, values in groups.items():
            await self._store.put(values, seconds)
        if gone := [name for name, item in batch.items() if item.plain is None]:
            await self._store.drop(gone)

    async def _touch(self) -> None:
        """What is to stay stays; what the store has lost (it was restarted) is written again."""
        while True:
            await self._clock.sleep(TOUCH_SECONDS if not self.away else RETRY_SECONDS)
            sessions = list(self._living)
            names = [self._memory(session) for session in sessions]
            try:
                here = await self._store.touch(names, MEMORY_SECONDS) if names else []
            except StoreAwayError as error:
                self._is_away(error)
                continue
            for session, name, is_here in zip(sessions, names, here, strict=True):
                if not is_here and session in self._living and name not in self._waiting:
                    self._later(name, _Item(self._living[session], MEMORY_SECONDS))
            if not self._waiting:
                self.away = False

    def _is_away(self, error: StoreAwayError) -> None:
        if not self.away:
            log.warning("conversations cannot be kept for other nodes at this moment: %s", error)
        self.away = True


def _size(item: _Item) -> int:
    return len(item.plain or b"") + 100
