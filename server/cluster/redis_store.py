"""The store of a cluster in Redis (5 or newer, or what speaks its protocol). Needs the extra ``cluster``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.cluster.store import StoreAwayError

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""For which an answer is waited for."""
MOST_CONNECTIONS = 8
PREFIX = "{visavis}:"
"""Of all keys. The braces keep them together where Redis itself is a cluster."""
_NODES = f"{PREFIX}nodes"
_HOLD = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[4])
return 1
"""
_RELEASE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[2])
end
return 1
"""
T = TypeVar("T")


class RedisStore:
    """Implements :class:`~server.cluster.store.Store`."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            max_connections=MOST_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),  # who asks decides whether to ask again
            client_name="visavis",
        )

    async def hold(self, name: str, token: str, report: str, seconds: float) -> bool:
        """As a script: between the look and the write nobody else can come."""
        told = await self._asked(
            self._client.eval(_HOLD, 2, _lease(name), _NODES, token, report, round(1000 * seconds), name)
        )
        return bool(told)

    async def release(self, name: str, token: str) -> None:
        """If the lease is this one's."""
        await self._asked(self._client.eval(_RELEASE, 2, _lease(name), _NODES, token, name))

    async def reports(self) -> list[str]:
        """Names whose lease has ended are removed from the list of names."""
        names = sorted(name.decode("utf-8", "replace") for name in await self._asked(self._client.smembers(_NODES)))
        if not names:
            return []
        held = await self._asked(self._client.mget([_lease(name) for name in names]))
        if gone := [name for name, lease in zip(names, held, strict=True) if lease is None]:
            await self._asked(self._client.srem(_NODES, *gone))
        return [lease.decode("utf-8", "replace").partition(" ")[2] for lease in held if lease is not None]

    async def put(self, values: Mapping[str, bytes], seconds: float) -> None:
        """In one go."""
        pipe = self._client.pipeline(transaction=False)
        for name, value in values.items():
            pipe.set(PREFIX + name, value, px=round(1000 * seconds))
        await self._asked(pipe.execute())

    async def touch(self, names: list[str], seconds: float) -> list[bool]:
        """In one go."""
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.pexpire(PREFIX + name, round(1000 * seconds))
        return [bool(there) for there in await self._asked(pipe.execute())]

    async def get(self, names: list[str]) -> list[bytes | None]:
        """In one go."""
        return cast("list[bytes | None]", await self._asked(self._client.mget([PREFIX + name for name in names])))

    async def drop(self, names: list[str]) -> None:
        """In one go."""
        await self._asked(self._client.delete(*(PREFIX + name for name in names)))

    async def close(self) -> None:
        """End the connections. Idempotent."""
        try:
            await self._client.aclose()
        except (RedisError, OSError):
            log.debug("Redis was gone already")

    async def _asked(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                return await call
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAwayError(f"{type(error).__name__}: {error}") from error


def _lease(name: str) -> str:
    return f"{PREFIX}node:{name}"
