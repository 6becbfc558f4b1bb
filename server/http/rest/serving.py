"""How a request is served: as a session of its own for the engines, so many at a time, until its client leaves.

A request counts for the engines like one conversation more: they serve sessions in turn, so it delays the others no
more than that.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from pipelines.errors import PipelineError
from pipelines.runtime.batching import FairQueue
from pipelines.runtime.worker import client, session
from server.http.access.granted import CLIENT
from server.http.access.load import check_load
from server.http.errors import HttpError, error_body

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often is looked whether the client is still there."""


def served(handler: Handler) -> Handler:
    """``handler`` in a session of its own, one of its client's; it is cancelled when the client leaves, which stops
    what it generates. While there is too much to do already, 503 is answered for what asks for work (``POST``)."""

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method == hdrs.METH_POST:
            check_load(request)

        async def work() -> web.StreamResponse:
            session.set(f"rest-{uuid.uuid4().hex}")
            client.set(request.get(CLIENT, ""))
            return await handler(request)

        task = asyncio.create_task(work(), name="rest")
        try:
            while not task.done():
                await asyncio.wait([task], timeout=LOOK_SECONDS)
                if request.transport is None and not task.done():
                    raise ConnectionResetError("the client has left")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    return serve


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request in line."""

    client: str
    session: str
    ready: asyncio.Future[None]
    group: Hashable = None


class Places:
    """``running`` requests of a kind are served at a time, and ``waiting`` more may wait for that: clients in turn.

    One client may have at most ``most`` of all these places.
    """

    def __init__(self, running: int, waiting: int, most: int | None = None) -> None:
        self._idle = running
        self._free = running + waiting
        self._most = most or self._free
        self._of: Counter[str] = Counter()
        self._line: FairQueue[_Waiting] = FairQueue()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises :class:`HttpError` (503) when too many wait already."""
        who = client.get()
        if self._free <= 0 or self._of[who] >= self._most:
            raise HttpError(503, "server_busy", "too many requests of this kind are waiting already")
        self._free -= 1
        self._of[who] += 1
        try:
            await self._turn(who)
            try:
                yield
            finally:
                self._leave()
        finally:
            self._free += 1
            self._of -= Counter((who,))  # which forgets those with none

    async def _turn(self, who: str) -> None:
        if self._idle:
            self._idle -= 1
            return
        waiting = _Waiting(who, session.get(), asyncio.get_running_loop().create_future())
        self._line.add(waiting)
        try:
            await waiting.ready
        except asyncio.CancelledError:
            if not self._line.remove(waiting) and not waiting.ready.cancelled():
                self._leave()  # the place had just been given
            raise

    def _leave(self) -> None:
        """Give the place to the next in line."""
        while (following := self._line.take()) is not None:
            if not following.ready.done():
                following.ready.set_result(None)
                return
        self._idle += 1


class EventStream:
    """Server-sent events, each a JSON object (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def send(self, data: dict[str, Any]) -> None:
        """The next event."""
        await self.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")))

    async def write(self, text: str) -> None:
        """The next event, as it is sent."""
        await self.response.write(f"data: {text}\n\n".encode("utf-8", "replace"))

    async def send_audio(self, kind: str, data: bytes) -> None:
        """An event that carries bytes."""
        await self.send({"type": kind, "audio": base64.b64encode(data).decode("ascii")})


@asynccontextmanager
async def event_stream(
    request: web.Request, more: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[EventStream]:
    """The response as events. What fails after its beginning is its last event, for the status has been sent.

    ``more``: headers of the response besides.
    """
    headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers={**headers, "X-Accel-Buffering": "no", **more})
    await response.prepare(request)
    stream = EventStream(response)
    try:
        yield stream
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except HttpError as error:
        await stream.write(error.response.text or "")
    except PipelineError as error:
        await stream.send(error_body(500, error.code, error.message))
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            raise  # the client has left, or took nothing of the answer for too long
        log.exception("%s failed in the middle of its answer", request.path)
        await stream.send(error_body(500, "internal_error", "the server failed; its log has the details"))
    await response.write_eof()
