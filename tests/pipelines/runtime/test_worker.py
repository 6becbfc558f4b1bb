"""The one door to threads: order, bounds, errors, cancellation and closing."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator

import pytest

from pipelines.errors import EngineBusyError, EngineStuckError
from pipelines.runtime.crew import MOST_AWAY, allow
from pipelines.runtime.worker import Worker
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE


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


class Hangs:
    """A job that begins and does not end until it is let go."""

    def __init__(self) -> None:
        self.begun, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()

    def hang_here(self) -> None:
        self.begun.set()
        self.gate.wait()
        self.ended.set()


@pytest.fixture
async def limited() -> AsyncIterator[Worker]:
    """A worker whose jobs may take a second of a clock that stands still."""
    worker = Worker("limited", limit=1.0)
    worker.crew.clock = FakeClock()
    yield worker
    worker.close()


async def too_late(worker: Worker, hangs: Hangs) -> None:
    """The job has begun, and takes too long."""
    assert await asyncio.to_thread(hangs.begun.wait, PATIENCE)
    worker.crew.look()  # not yet
    worker.crew.clock.advance(1.1)
    worker.crew.look()


async def test_a_job_that_hangs_is_given_up_and_the_next_is_run_by_another_thread(limited, caplog):
    hangs = Hangs()
    first = await limited.run(threading.get_ident)
    hanging, next_one = (asyncio.create_task(limited.run(work)) for work in (hangs.hang_here, threading.get_ident))
    await too_late(limited, hangs)
    with pytest.raises(EngineStuckError, match="limited worker hung") as stuck:
        await hanging
    assert stuck.value.code == "engine_stuck"
    assert await next_one != first
    assert "hang_here" in caplog.text, "the log tells where"
    hangs.gate.set()
    assert await asyncio.to_thread(hangs.ended.wait, PATIENCE)
    assert await limited.run(threading.get_ident) != first, "who was left behind does no more work"


async def test_it_looks_after_its_threads_by_itself():
    worker, hangs = Worker("limited", limit=0.05), Hangs()
    with pytest.raises(EngineStuckError):
        await worker.run(hangs.hang_here)
    hangs.gate.set()
    worker.close()


async def test_a_caller_that_left_does_not_keep_a_thread_that_hangs(limited):
    hangs = Hangs()
    leaver = asyncio.create_task(limited.run(hangs.hang_here))
    await asyncio.to_thread(hangs.begun.wait)
    leaver.cancel()
    await too_late(limited, hangs)
    assert await limited.run(lambda: 5) == 5
    hangs.gate.set()


async def test_threads_left_behind_are_bounded_and_work_again_when_they_come_back(limited):
    all_of_them = [Hangs() for _ in range(MOST_AWAY + 1)]
    for hangs in all_of_them:
        hanging = asyncio.create_task(limited.run(hangs.hang_here))
        await too_late(limited, hangs)
        with pytest.raises(EngineStuckError):
            await hanging
    with pytest.raises(EngineStuckError, match="all threads"):
        await limited.run(int)
    assert (limited.crew.threads, limited.crew.away) == (0, MOST_AWAY + 1)
    for hangs in all_of_them:
        hangs.gate.set()
    while True:
        try:
            assert await limited.run(lambda: 5) == 5
            break
        except EngineStuckError:  # none is back yet
            await asyncio.sleep(0)
    assert limited.crew.threads == 1


async def test_a_slow_reader_is_no_hang(limited, monkeypatch):
    waits = threading.Semaphore(0)

    def spied(seconds: float) -> None:
        allow(seconds)
        if seconds == math.inf:
            waits.release()

    monkeypatch.setattr("pipelines.runtime.worker.allow", spied)
    stream = limited.stream(lambda stop: iter(range(6)), ahead=4)
    assert await anext(stream) == 0
    for _ in range(6):  # the sixth has no room
        assert await asyncio.to_thread(waits.acquire, timeout=PATIENCE)
    limited.crew.clock.advance(60.0)
    limited.crew.look()
    assert [item async for item in stream] == [1, 2, 3, 4, 5]


async def test_a_stream_that_hangs_between_two_items_is_given_up(limited):
    hangs = Hangs()

    def produce(stop: threading.Event):
        yield 1
        hangs.hang_here()

    stream = limited.stream(produce)
    assert await anext(stream) == 1
    await too_late(limited, hangs)
    with pytest.raises(EngineStuckError):
        await anext(stream)
    hangs.gate.set()


async def test_a_process_that_was_stopped_blames_no_thread(limited):
    hangs = Hangs()
    job = asyncio.create_task(limited.run(hangs.hang_here))
    assert await asyncio.to_thread(hangs.begun.wait, PATIENCE)
    limited.crew.clock.advance(60.0)
    limited.crew._look_now()
    assert limited.crew.away == 0
    hangs.gate.set()
    await job
