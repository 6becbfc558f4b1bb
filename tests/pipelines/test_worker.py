"""The one door to threads: order, bounds, errors, cancellation and closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from pipelines.errors import EngineBusyError
from pipelines.worker import Worker


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test", inbox=2)
    yield worker
    worker.close()


async def test_runs_off_the_loop_and_returns_the_result(worker):
    assert await worker.run(threading.get_ident) != threading.get_ident()
    assert await worker.run(lambda a, b: a + b, 1, b=2) == 3


async def test_errors_reach_the_caller_and_the_worker_lives_on(worker):
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: 5) == 5


async def test_a_full_inbox_refuses_at_once(worker):
    gate, begun = threading.Event(), threading.Event()
    busy = asyncio.create_task(worker.run(lambda: (begun.set(), gate.wait())))
    await asyncio.to_thread(begun.wait)
    waiting = [asyncio.create_task(worker.run(int)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EngineBusyError, match="2 jobs"):
        await worker.run(int)
    gate.set()
    await asyncio.gather(busy, *waiting)


async def test_a_job_cancelled_before_it_began_is_skipped(worker):
    gate, begun, ran = threading.Event(), threading.Event(), []
    busy = asyncio.create_task(worker.run(lambda: (begun.set(), gate.wait())))
    await asyncio.to_thread(begun.wait)
    cancelled = asyncio.create_task(worker.run(ran.append, 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    gate.set()
    await busy
    await worker.run(int)
    assert ran == []


async def test_streams_in_order_and_stops_when_the_reader_does(worker):
    stopped = threading.Event()

    def count(stop: threading.Event):
        n = 0
        while not stop.is_set():
            yield n
            n += 1
        stopped.set()

    stream = worker.stream(count, ahead=4)
    assert [await anext(stream) for _ in range(10)] == list(range(10))
    await stream.aclose()
    assert await worker.run(int) == 0  # the thread is free again


async def test_a_failing_stream_raises_after_its_items(worker):
    def fail(stop: threading.Event):
        yield 1
        raise ValueError("broken")

    items = []
    with pytest.raises(ValueError, match="broken"):
        async for item in worker.stream(fail):
            items.append(item)  # noqa: PERF401 - the error must come after the item
    assert items == [1]


async def test_closing_refuses_those_that_wait():
    worker = Worker("closing")
    gate, begun = threading.Event(), threading.Event()
    busy = asyncio.create_task(worker.run(lambda: (begun.set(), gate.wait())))
    await asyncio.to_thread(begun.wait)
    waiting = asyncio.create_task(worker.run(int))
    await asyncio.sleep(0)
    worker.close()
    worker.close()
    gate.set()
    await busy
    with pytest.raises(EngineBusyError, match="closed"):
        await waiting
    with pytest.raises(EngineBusyError, match="closed"):
        await worker.run(int)
