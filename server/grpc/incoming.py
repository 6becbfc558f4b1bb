"""What a client streams: each message within its time, and at a refusal the rest of it, which nobody reads any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

from server.http.pipelines.arriving import InputError

_END = object()
_PARTING_SECONDS, _PARTING_BYTES = 2.0, 32 << 20
"""Of what a refused client still sends, are taken."""
_PAUSE_SECONDS = 0.2
"""A client that has sent nothing for so long is not in the middle of it."""
_MOST_PARTING = 64
"""Calls at a time whose rest is taken."""


class Incoming:
    """The messages of one call; whoever gives up waiting for one leaves it to the next who waits."""

    _parting = 0

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = source
        self._coming: asyncio.Future[Any] | None = None

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> Any:
        if self._coming is None:
            self._coming = asyncio.ensure_future(anext(self._source, _END))
        await asyncio.wait([self._coming])
        come, self._coming = self._coming, None
        if (message := come.result()) is _END:
            raise StopAsyncIteration
        return message

    def close(self) -> None:
        """Nothing more is wanted. Idempotent."""
        if self._coming is not None:
            self._coming.cancel()
            self._coming.add_done_callback(lambda come: come.cancelled() or come.exception())  # nobody asks for it

    async def let_go(self) -> None:
        """Take the rest and forget it, until the client has sent all, pauses, or has sent too much.

        Where a status comes while a message is written, ``grpc.aio`` tells its user ``INTERNAL`` in place of it.
        """
        if Incoming._parting >= _MOST_PARTING:
            return
        Incoming._parting += 1
        left = _PARTING_BYTES
        try:
            with suppress(Exception):  # the client is late, or has left: it is refused all the same
                async with asyncio.timeout(_PARTING_SECONDS):
                    while left > 0:
                        async with asyncio.timeout(_PAUSE_SECONDS):
                            left -= (await anext(self)).ByteSize()
        finally:
            Incoming._parting -= 1


async def arriving(requests: AsyncIterator[Any], seconds: float) -> AsyncGenerator[Any, None]:
    """What a client streams; nothing may be longer on its way than ``seconds``. Raises :class:`InputError`."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                request = await anext(requests, None)
        except TimeoutError:
            message = f"nothing more arrived within {seconds:g} s"
            raise InputError(408, "request_timeout", message) from None
        if request is None:
            return
        yield request
