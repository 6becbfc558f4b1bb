"""Pools: they grow soon where work waits and there is room, shrink late, and do not swing."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import pytest

from pipelines.runtime.crew import Work
from pipelines.runtime.scaling import (
    GROW_LOOKS,
    MEMORY_LEFT,
    REST_SECONDS,
    SHRINK_SECONDS,
    Bounds,
    Look,
    Scaler,
    Scaling,
    WorkerPool,
)
from pipelines.runtime.slots import Slots
from pipelines.runtime.worker import Worker
from tests.fakes.clock import FakeClock
from tests.patience import until


def decisions(policy: Scaling, looks: int, *, start: float = 0.0, size: int = 2, **given: object) -> list[object]:
    """What the policy says to so many looks, a second apart, that show the same."""
    shown = {"waiting": 0, "waited": 0.0, "busy": 0.0} | given
    return [policy.decide(Look(start + n, size, **shown)) for n in range(looks)]  # type: ignore[arg-type]


PRESSED = {"waiting": 3, "waited": 0.2, "busy": 2.0}


def test_it_grows_by_one_when_work_has_waited_for_some_looks() -> None:
    told = decisions(Scaling(Bounds(1, 4)), GROW_LOOKS, **PRESSED)
    assert told[:-1] == [None] * (GROW_LOOKS - 1)
    assert told[-1] == (3, "work waited 200 ms, 3 pieces wait")


@pytest.mark.parametrize(
    "given",
    [
        PRESSED | {"size": 4},
        PRESSED | {"machine": 0.95},
        PRESSED | {"free": MEMORY_LEFT + 50},
        PRESSED | {"busy": 1.0},
        PRESSED | {"waited": 0.01, "waiting": 1},
    ],
    ids=["as many as may be", "no processor", "no memory", "not busy", "hardly waits"],
)
def test_it_does_not_grow_where_it_may_not_or_would_not_help(given) -> None:
    assert decisions(Scaling(Bounds(1, 4), cost=100), 30, **given) == [None] * 30


def test_memory_counts_only_where_one_more_takes_some() -> None:
    assert (3, "work waited 200 ms, 3 pieces wait") in decisions(Scaling(Bounds(1, 4)), 5, free=0, **PRESSED)


def test_a_moment_of_pressure_is_no_reason_and_growth_rests() -> None:
    policy = Scaling(Bounds(1, 9))
    assert decisions(policy, GROW_LOOKS - 1, **PRESSED) == [None] * (GROW_LOOKS - 1)
    assert decisions(policy, 1, start=10, busy=0.5) == [None]
    told = decisions(policy, 20, start=20, **PRESSED)
    grown = [n for n, one in enumerate(told) if one is not None]
    assert grown[0] == GROW_LOOKS - 1
    assert all(second - first >= REST_SECONDS for first, second in pairwise(grown))


def test_it_shrinks_late_and_only_to_where_it_would_not_grow_again() -> None:
    assert decisions(Scaling(Bounds(1, 4)), int(SHRINK_SECONDS), busy=0.5) == [None] * int(SHRINK_SECONDS)
    told = decisions(Scaling(Bounds(1, 4)), int(SHRINK_SECONDS) + 1, busy=0.5)
    assert told[-1] == (1, "0.5 were at work on average")
    assert decisions(Scaling(Bounds(1, 4)), 200, busy=0.6) == [None] * 200, "one would be busy by 60 %"
    assert decisions(Scaling(Bounds(2, 4)), 200, busy=0.0) == [None] * 200


def test_a_pool_under_a_steady_load_finds_its_size_and_stays() -> None:
    """Work for 2.5 threads: three are enough."""
    policy, size, sizes = Scaling(Bounds(1, 8)), 1, []
    for second in range(600):
        short = size < 2.5
        look = Look(float(second), size, 5 if short else 0, 0.3 if short else 0.0, min(2.5, size))
        found = policy.decide(look)
        if found is not None:
            size = found[0]
            sizes.append(size)
    assert sizes == [2, 3]


class FakePool:
    cost = 0

    def __init__(self) -> None:
        self.name, self.bounds, self.size, self.waiting = "pool", Bounds(1, 3), 1, 0
        self.done = Work()
        self.fails = False

    def work(self) -> Work:
        return self.done

    async def resize(self, size: int) -> None:
        if self.fails:
            raise OSError("no")
        self.size = size


async def test_a_scaler_looks_counts_and_tells_why(caplog) -> None:
    clock, pool = FakeClock(), FakePool()
    caplog.set_level("INFO")
    scaler = Scaler(lambda: [pool], clock)

    async def seconds(count: int, *, jobs: int, waited: float, busy: float) -> None:
        for _ in range(count):
            clock.advance(1.0)
            pool.done = Work(pool.done.jobs + jobs, pool.done.waited + jobs * waited, pool.done.busy + busy)
            await scaler.look()

    await seconds(5, jobs=10, waited=0.5, busy=1.0)
    assert (pool.size, scaler.sizes()) == (2, {"pool": 2})
    assert "work waited 500 ms" in scaler.why(pool)
    await seconds(int(SHRINK_SECONDS) + 2, jobs=1, waited=0.0, busy=0.1)
    assert (pool.size, dict(scaler.changes)) == (1, {("pool", "grown"): 1, ("pool", "shrunk"): 1})
    assert "pool pool: 2 instead of 1" in caplog.text
    pool.fails = True
    await seconds(8, jobs=10, waited=0.5, busy=1.0)
    assert (pool.size, scaler.changes["pool", "grown"]) == (1, 1)
    assert "keeps its size" in caplog.text


async def alone(worker: Worker) -> None:
    """Until all its threads but one have gone."""
    async with asyncio.timeout(30):
        while worker.crew.threads > 1:
            await worker.run(lambda: None)


async def test_a_workers_threads_come_and_go_without_losing_a_job() -> None:
    worker = Worker("crowd", threads=1, inbox=32)
    pool = WorkerPool(worker, Bounds(1, 4))
    gate, running = threading.Event(), threading.Semaphore(0)

    def work(n: int) -> int:
        running.release()
        gate.wait()
        return n

    tasks = [asyncio.create_task(worker.run(work, n)) for n in range(8)]
    await until(lambda: pool.waiting == 7)
    await pool.resize(4)
    await until(lambda: pool.waiting == 4)
    assert (pool.size, worker.crew.threads) == (4, 4)
    await pool.resize(1)
    gate.set()
    assert await asyncio.gather(*tasks) == list(range(8))
    await alone(worker)
    assert pool.work().jobs >= 8
    assert await worker.run(lambda: "still") == "still"
    await pool.resize(3)
    assert worker.crew.threads == 3
    await pool.resize(1)  # idle ones are woken to go
    await alone(worker)
    worker.close()


async def test_slots_are_given_in_order_and_can_become_more_or_fewer() -> None:
    clock = FakeClock()
    slots = Slots(1, clock)
    await slots.acquire()
    order: list[int] = []

    async def one(n: int) -> None:
        await slots.acquire()
        order.append(n)

    tasks = [asyncio.create_task(one(n)) for n in range(4)]
    await until(lambda: slots.waiting == 4)
    clock.advance(2.0)
    slots.resize(3)
    await until(lambda: order == [0, 1])
    tasks[2].cancel()
    await until(lambda: slots.waiting == 1)
    assert slots.work() == Work(3, 4.0, 2.0)
    slots.resize(1)
    slots.release()
    slots.release()
    await asyncio.sleep(0)
    assert order == [0, 1]
    slots.release()
    await until(lambda: order == [0, 1, 3])
    clock.advance(1.0)
    assert slots.work().busy == 3.0
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_gives_up_waiting_for_a_place_leaves_the_line() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiting = [asyncio.create_task(slots.acquire()) for _ in range(3)]
    await until(lambda: slots.waiting == 3)
    for task in waiting[:2]:
        task.cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    assert len(slots._line) == 1, "nothing is kept for those who are gone, though no place has become free"
    slots.release()
    await waiting[2]
    assert slots.waiting == 0
