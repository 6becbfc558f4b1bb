"""The store of a cluster in Redis (5 or newer, or what speaks its protocol). Needs the extra ``cluster``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

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
_SPEND = """
local used = {}
for n, key in ipairs(KEYS) do
  used[n] = math.max(redis.call('PTTL', key), 0) + tonumber(ARGV[n])
  redis.call('SET', key, '', 'PX', used[n])
end
return used
"""
"""What was used up is how long its key is still to live."""


class RedisStore:
    """Implements :class:`~server.cluster.store.Store`."""

    def __init__(self, url: str) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MOST_CONNECTIONS,
            timeout=ANSWER_SECONDS,  # for one to be free: many who come back at once must not be told it is away
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # who asks decides whether to ask again
            client_name="visavis",
        )
        self._client: Any = redis.Redis.from_pool(pool)

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
        members = await self._asked(self._client.smembers(_NODES), set)
        if not all(isinstance(name, bytes) for name in members):
            raise _garbled()
        names = sorted(name.decode("utf-8", "replace") for name in members)
        if not names:
            return []
        held = _texts(await self._asked(self._client.mget([_lease(name) for name in names]), list), len(names))
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
        there = await self._asked(pipe.execute(), list)
        if len(there) != len(names):
            raise _garbled()
        return [bool(one) for one in there]

    async def get(self, names: list[str]) -> list[bytes | None]:
        """In one go."""
        return _texts(await self._asked(self._client.mget([PREFIX + name for name in names]), list), len(names))

    async def drop(self, names: list[str]) -> None:
        """In one go."""
        await self._asked(self._client.delete(*(PREFIX + name for name in names)))

    async def spend(self, seconds: Mapping[str, float]) -> list[float]:
        """As a script: nothing that another node adds meanwhile is lost."""
        keys = [PREFIX + name for name in seconds]
        spent = [max(1, round(1000 * one)) for one in seconds.values()]
        used = await self._asked(self._client.eval(_SPEND, len(keys), *keys, *spent), list)
        if len(used) != len(keys) or not all(isinstance(one, int) for one in used):
            raise _garbled()
        return [one / 1000 for one in used]

    async def close(self) -> None:
        """End the connections. Idempotent."""
        try:
            await self._client.aclose()
        except (RedisError, OSError):
            log.debug("Redis was gone already")

    async def _asked(self, call: Awaitable[Any], kind: type = object) -> Any:
        """The answer, if it is of that kind: whatever is wrong with a store, it is away, and no task ends by that."""
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                answer = await call
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAwayError(f"{type(error).__name__}: {error}") from error
        except Exception as error:  # what is no Redis makes its client fail in any way
            raise _garbled() from error
        if not isinstance(answer, kind):
            raise _garbled()
        return answer


def _garbled() -> StoreAwayError:
    return StoreAwayError("what answers there is no Redis, or is out of order")


def _texts(told: list[Any], count: int) -> list[bytes | None]:
    """Values as Redis keeps them, as many as were asked for. Raises :class:`StoreAwayError`."""
    if len(told) != count or not all(one is None or isinstance(one, bytes) for one in told):
        raise _garbled()
    return told


def _lease(name: str) -> str:
    return f"{PREFIX}node:{name}"
