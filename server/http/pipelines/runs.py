"""One request → one run: when it may begin, what is sent of it, and what becomes of it when the client leaves."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from aiohttp import hdrs, web

from pipelines.errors import PipelineError
from pipelines.routing.definition import Pipeline
from pipelines.runtime.worker import session
from pipelines.voice.history import new_id
from server.http.access.load import check_load
from server.http.errors import HttpError
from server.http.pipelines.arriving import InputError
from server.http.pipelines.house import Pipelines
from server.http.pipelines.inputs import Sent, Workers, body_of, input_of
from server.http.pipelines.places import Places
from server.http.pipelines.ready import Ready, check_hope, ready_for
from server.http.pipelines.sending import Sending, refused
from server.http.pipelines.store import KeptRun, RunStore
from server.http.pipelines.wishes import Asked, asked
from server.settings import Settings

LOOK_SECONDS = 0.05
"""How often is looked whether the client is still there."""
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
"""Linux tells of a client that has left even while nothing of it is read."""
T = TypeVar("T")


class Runs:
    """Answers requests for runs."""

    def __init__(self, house: Pipelines, places: Places, store: RunStore, workers: Workers, settings: Settings) -> None:
        self._house = house
        self._places = places
        self._store = store
        self._workers = workers
        self._seconds = settings.request_timeout
        self._most = settings.pipeline_body_mb << 20

    async def answer(self, request: web.Request, pipeline: Pipeline) -> web.StreamResponse:
        """Run ``pipeline`` on the body, once there is a place; a client that leaves ends it."""
        began = time.monotonic()
        wanted = asked(request.headers, lambda: self._house.backends)
        check_load(request)
        try:
            sent = Sent.of(request)
            sent.check()
            check_hope(pipeline, sent, accepted(request))
            return await _while_there(request, lambda: self._in_turn(request, pipeline, sent, wanted, began))
        except InputError as error:
            return refused(error, None)

    async def _in_turn(
        self, request: web.Request, pipeline: Pipeline, sent: Sent, wanted: Asked, began: float
    ) -> web.StreamResponse:
        async with held(self._places, wanted):
            wanted = less_the_wait(wanted, time.monotonic() - began)
            body = body_of(request, self._seconds, self._most)
            async with aclosing(body):
                given = await input_of(sent, body, pipeline.takes, self._workers)
                try:
                    return await self._run(request, ready_for(pipeline, sent, given, wanted, accepted(request)))
                finally:
                    await given.close()

    async def _run(self, request: web.Request, ready: Ready) -> web.StreamResponse:
        pipeline, given = ready.pipeline, ready.given
        kept = KeptRun(new_id("run"), pipeline.id)
        session.set(kept.id)  # engines serve sessions in turn
        run = self._house.start(pipeline, given.media, ready.asked.wishes, given.context_id)
        kept.records = run.records
        self._store.add(kept)
        try:
            async with run:
                return await Sending(request, ready, kept, self._workers.codecs).send(run)
        except PipelineError as error:
            kept.fail(error)
            return refused(error, kept, ready.asked.wishes.target_backend)
        finally:
            kept.finish("cancelled")
            self._store.count(kept)
            self._house.observe(pipeline, run.records, kept.total or 0.0)


def accepted(request: web.Request) -> str:
    """All that the request says in ``Accept``."""
    return ",".join(request.headers.getall(hdrs.ACCEPT, ()))


async def _while_there(request: web.Request, work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``work``, which is cancelled when the client leaves."""

    async def done() -> T:
        return await work()

    task = asyncio.create_task(done(), name="pipeline")
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_SECONDS)
            if not task.done() and _has_left(request):
                raise ConnectionResetError("the client has left")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


def _has_left(request: web.Request) -> bool:
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    connected = transport.get_extra_info("socket")
    if not _HUNG_UP or connected is None or connected.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connected.fileno(), _HUNG_UP)
    return bool(poll.poll(0))


@asynccontextmanager
async def held(places: Places, wanted: Asked) -> AsyncIterator[None]:
    """A place for the run, if it comes in time. Raises :class:`HttpError` (503, 504)."""
    latest = wanted.wishes.max_latency_ms
    place = places.place(wanted.wishes.priority)
    try:
        async with asyncio.timeout(None if latest is None else latest / 1000):
            await place.__aenter__()
    except TimeoutError as error:
        message = f"all places were taken for {latest:g} ms: the run has not begun"
        raise HttpError(504, "latency_exceeded", message, "X-Max-Latency-Ms") from error
    try:
        yield
    finally:
        await place.__aexit__(None, None, None)


def less_the_wait(wanted: Asked, waited: float) -> Asked:
    """The time of a run counts from when it was asked for."""
    latest = wanted.wishes.max_latency_ms
    if latest is None:
        return wanted
    return replace(wanted, wishes=replace(wanted.wishes, max_latency_ms=max(1.0, latest - waited * 1000)))
