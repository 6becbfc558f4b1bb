"""The batching worker, on its real thread: what is run together, in which order, and what a failure costs."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from media.clock import MonotonicClock
from pipelines.errors import EngineBusyError, EngineStuckError
from pipelines.runtime.batching import BatchWorker, Job
from pipelines.runtime.crew import allow
from pipelines.runtime.worker import session
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE


class Engine:
    """Doubles what it is given. A request of ``HOLD`` waits until it is let go; one that is in ``bad`` crashes it."""

    HOLD = "hold"

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.bad: set[Any] = set()
        self.restarts = 0
        self.begun, self.gate = threading.Event(), threading.Event()

    def run(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        self.batches.append([job.request for job in jobs])
        if jobs[0].request == self.HOLD:
            self.begun.set()
            self.gate.wait()
        if crash := self.bad.intersection(job.request for job in jobs):
            raise ValueError(f"cannot digest {crash}")
        return [ValueError(job.request) if job.request == "odd" else job.request * 2 for job in jobs]

    def restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.gate.set()


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., BatchWorker[Any, Any]]]:
    made: list[BatchWorker[Any, Any]] = []

    def make(**options: Any) -> BatchWorker[Any, Any]:
        made.append(BatchWorker("test", engine.run, **{"restart": engine.restart, **options}))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def ask(worker: BatchWorker[Any, Any], request: Any, who: str = "", **options: Any) -> asyncio.Task[Any]:
    """A request of the session ``who``, in the inbox once the loop has turned."""

    async def asking() -> Any:
        session.set(who)
        return await worker.submit(request, **options)

    return asyncio.create_task(asking())


async def occupy(engine: Engine, worker: BatchWorker[Any, Any]) -> asyncio.Task[Any]:
    """Keep the worker busy until ``engine.gate`` is set."""
    busy = ask(worker, Engine.HOLD, group="apart")
    await asyncio.to_thread(engine.begun.wait)
    return busy


async def test_gives_each_caller_its_own_result(make):
    worker = make(max_batch=4)
    assert await asyncio.gather(*(worker.submit(n) for n in range(10))) == [n * 2 for n in range(10)]


async def test_what_is_queued_is_run_together_up_to_the_limit(engine, make):
    worker = make(max_batch=3)
    busy = await occupy(engine, worker)
    asked = [ask(worker, n) for n in range(5)]
    await asyncio.sleep(0)
    assert worker.waiting == 5
    engine.gate.set()
    await asyncio.gather(busy, *asked)
    assert engine.batches[1:] == [[0, 1, 2], [3, 4]]
    assert (worker.counts().batches, worker.counts().jobs, worker.waiting) == (3, 6, 0)


async def test_only_one_group_shares_a_batch(engine, make):
    worker = make(max_batch=8)
    busy = await occupy(engine, worker)
    asked = [ask(worker, n, who=str(n), group=n % 2) for n in range(6)]
    await asyncio.sleep(0)
    engine.gate.set()
    await asyncio.gather(busy, *asked)
    assert engine.batches[1:] == [[0, 2, 4], [1, 3, 5]]


async def test_sessions_take_turns(engine, make):
    worker = make()
    busy = await occupy(engine, worker)
    asked = [ask(worker, n, who="a") for n in range(20)] + [ask(worker, 100, who="b")]
    await asyncio.sleep(0)
    engine.gate.set()
    await asyncio.gather(busy, *asked)
    assert [batch[0] for batch in engine.batches[1:4]] == [0, 100, 1]


async def test_waits_for_more_only_as_long_as_it_may(engine, make):
    worker = make(max_batch=2, max_wait=60.0)
    first = ask(worker, 1)
    await asyncio.sleep(0)
    assert await asyncio.gather(first, worker.submit(2)) == [2, 4]  # full: it does not wait for the minute to pass
    assert engine.batches == [[1, 2]]
    hasty = make(max_batch=2, max_wait=0.001)
    assert await hasty.submit(3) == 6


async def test_a_full_inbox_refuses_at_once_and_a_caller_that_leaves_frees_its_place(engine, make):
    worker = make(inbox=2)
    busy = await occupy(engine, worker)
    leaver, stayer = ask(worker, 1), ask(worker, 2)
    await asyncio.sleep(0)
    with pytest.raises(EngineBusyError, match="2 jobs") as refused:
        await worker.submit(3)
    assert refused.value.code == "engine_busy"
    leaver.cancel()
    await asyncio.wait([leaver])
    assert worker.waiting == 1
    late = ask(worker, 4)
    await asyncio.sleep(0)
    engine.gate.set()
    assert await asyncio.gather(busy, stayer, late) == ["holdhold", 4, 8]
    assert [1] not in engine.batches
    assert worker.counts().refused == 1


async def test_whoever_leaves_while_a_batch_waits_for_more_is_not_run(engine, make):
    held = threading.Event()

    class Watched(MonotonicClock):
        def now(self) -> float:
            if threading.current_thread().name.startswith("test"):  # the worker asks how long it may keep what it holds
                held.set()
            return super().now()

    worker = make(max_batch=2, max_wait=60.0)
    worker.clock = Watched()
    leaver = ask(worker, 1)
    await asyncio.to_thread(held.wait)
    leaver.cancel()
    await asyncio.wait([leaver])
    assert await asyncio.gather(worker.submit(2), worker.submit(3)) == [4, 6]
    assert engine.batches == [[2, 3]]


async def test_the_running_job_sees_at_once_that_its_caller_left(make):
    begun, seen = threading.Event(), threading.Event()

    def steps(jobs: Sequence[Job[Any]]) -> list[int]:
        begun.set()
        while not jobs[0].cancelled:
            threading.Event().wait(0.001)
        seen.set()
        return [0]

    worker = BatchWorker("steps", steps)
    caller = ask(worker, 1)
    await asyncio.to_thread(begun.wait)
    caller.cancel()
    assert seen.wait(PATIENCE)  # the loop has not even told the caller yet
    worker.close()


async def test_a_batch_that_hangs_is_given_up_and_the_others_are_served(engine, make):
    worker = make(limit=0.05)
    hanging = await occupy(engine, worker)
    waiting = ask(worker, 2)
    with pytest.raises(EngineStuckError, match="hung"):
        await hanging
    assert await waiting == 4
    assert (worker.counts().stuck, engine.restarts, worker.crew.away) == (1, 1, 1)
    engine.gate.set()
    assert await worker.submit(3) == 6


async def test_a_batch_that_allows_itself_more_is_not_given_up(make):
    begun, gate = threading.Event(), threading.Event()

    def slow(jobs: Sequence[Job[Any]]) -> list[int]:
        allow(math.inf)
        begun.set()
        gate.wait()
        return [1]

    worker = BatchWorker("slow", slow, limit=1e-9)
    asked = ask(worker, 1)
    await asyncio.to_thread(begun.wait)
    worker.crew.look()
    gate.set()
    assert await asked == 1
    worker.close()


async def test_a_deadline_in_the_past_is_refused_without_queueing(engine, make):
    worker = make()
    with pytest.raises(EngineBusyError) as late:
        await worker.submit(1, deadline=MonotonicClock().now() - 1)
    assert late.value.code == "deadline"
    assert engine.batches == []


async def test_a_deadline_that_passes_in_the_queue_is_told_before_the_batch_in_hand_ends(engine, make):
    worker = make()
    busy = await occupy(engine, worker)
    with pytest.raises(EngineBusyError, match="in time"):
        await worker.submit(1, deadline=MonotonicClock().now() + 0.005)
    assert worker.waiting == 0
    assert worker.counts().expired == 1
    engine.gate.set()
    await busy
    assert [1] not in engine.batches


async def test_a_job_does_not_begin_after_its_deadline(engine, make):
    worker = make()
    worker.clock = clock = FakeClock()
    busy = await occupy(engine, worker)
    late, patient = ask(worker, 1, deadline=100.0), ask(worker, 2, deadline=1000.0)
    await asyncio.sleep(0)
    clock.advance(101.0)
    engine.gate.set()
    with pytest.raises(EngineBusyError, match="in time"):
        await late
    assert await patient == 4
    await busy
    assert [1] not in engine.batches
    assert worker.counts().expired == 1


async def test_a_failing_item_does_not_fail_its_batch(engine, make):
    worker = make(max_batch=4)
    busy = await occupy(engine, worker)
    asked = [ask(worker, request) for request in (1, "odd", 3)]
    await asyncio.sleep(0)
    engine.gate.set()
    one, odd, three = await asyncio.gather(*asked, return_exceptions=True)
    assert (one, str(odd), three) == (2, "odd", 6)
    await busy
    assert engine.restarts == 0


async def test_a_crash_fails_only_what_caused_it_and_the_engine_is_restarted(engine, make):
    worker = make(max_batch=4)
    busy = await occupy(engine, worker)
    engine.bad = {"bad"}
    asked = [ask(worker, request) for request in (1, "bad", 3)]
    await asyncio.sleep(0)
    engine.gate.set()
    one, bad, three = await asyncio.gather(*asked, return_exceptions=True)
    await busy
    assert (one, type(bad), three) == (2, ValueError, 6)
    assert engine.batches[1:] == [[1, "bad", 3], [1], ["bad"], [3]]
    assert engine.restarts == worker.counts().restarts == 2  # after the batch, and after the culprit
    assert worker.counts().crashes == 2
    assert await worker.submit(4) == 8


async def test_a_single_crash_is_not_run_twice(engine, make):
    worker = make(max_batch=4)
    engine.bad = {"bad"}
    with pytest.raises(ValueError, match="digest"):
        await worker.submit("bad")
    assert engine.batches == [["bad"]]
    assert engine.restarts == 0  # not before there is something to do
    assert await worker.submit(1) == 2
    assert engine.restarts == 1


async def test_a_restart_that_fails_is_told_and_tried_again(engine, make):
    restarts: list[Exception | None] = [OSError("no memory"), None]

    def restart() -> None:
        if (error := restarts.pop(0)) is not None:
            raise error

    worker = make(restart=restart)
    engine.bad = {"bad"}
    with pytest.raises(ValueError, match="digest"):
        await worker.submit("bad")
    with pytest.raises(OSError, match="no memory"):
        await worker.submit(1)
    assert await worker.submit(2) == 4
    assert engine.batches == [["bad"], [2]]
    assert worker.counts().restarts == 1


async def test_too_few_results_are_a_crash():
    worker: BatchWorker[int, int] = BatchWorker("short", lambda jobs: [])
    with pytest.raises(RuntimeError, match="short engine gave 0 results for 1"):
        await worker.submit(1)
    worker.close()


async def test_an_iterator_that_ends_too_early_does_not_hang_its_caller():
    worker: BatchWorker[int, int] = BatchWorker("hang", lambda jobs: [next(iter(()))])
    with pytest.raises(RuntimeError, match="too early"):
        await worker.submit(1)
    worker.close()


async def test_closing_refuses_those_that_wait_and_finishes_the_batch_in_hand(engine, make):
    worker = make()
    busy = await occupy(engine, worker)
    waiting = ask(worker, 1)
    await asyncio.sleep(0)
    worker.close()
    worker.close()
    with pytest.raises(EngineBusyError, match="closed"):
        await waiting
    with pytest.raises(EngineBusyError, match="closed"):
        await worker.submit(2)
    engine.gate.set()
    assert await busy == "holdhold"


async def test_the_wait_to_expect_is_that_of_those_before(engine, make):
    worker = make()
    worker.clock = clock = FakeClock()
    assert worker.expected_wait == 0, "nothing is known yet"
    busy = await occupy(engine, worker)
    clock.advance(0.5)
    engine.gate.set()
    await busy
    assert worker.expected_wait == 0, "nobody is before"
    engine.gate.clear()
    engine.begun.clear()
    busy = await occupy(engine, worker)
    assert worker.expected_wait == pytest.approx(0.5), "one is in hand"
    waiting = [ask(worker, 1, str(n)) for n in range(3)]
    await asyncio.sleep(0)
    assert worker.expected_wait == pytest.approx(2.0), "and three wait"
    engine.gate.set()
    await asyncio.gather(busy, *waiting)


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_thread_that_was_left_behind_among_the_jobs_of_a_crash_leaves_the_rest_alone(crashes):
    begun, gate, restarts = threading.Event(), threading.Event(), list[str]()
    ran: list[list[Any]] = []

    def run(jobs: Sequence[Job[Any]]) -> list[Any]:
        ran.append([job.request for job in jobs])
        if len(jobs) > 1 and jobs[0].request == 1:
            raise ValueError("not together")
        if jobs[0].request == 1:
            begun.set()
            gate.wait()
            if crashes:
                raise ValueError("late")
        return [job.request for job in jobs]

    worker = BatchWorker(
        "test", run, max_batch=3, max_wait=60.0, restart=lambda: restarts.append("once more"), limit=60.0
    )
    worker.crew.clock = clock = FakeClock()
    asked = [ask(worker, n) for n in (1, 2, 3)]
    await asyncio.to_thread(begun.wait)
    clock.advance(61.0)
    worker.crew.look()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in told] == [EngineStuckError] * 3
    assert await asyncio.gather(*map(worker.submit, (4, 5, 6))) == [4, 5, 6]
    [left] = worker.crew._away
    assert left.thread is not None
    gate.set()
    await asyncio.to_thread(left.thread.join)
    assert await asyncio.gather(*map(worker.submit, (7, 8, 9))) == [7, 8, 9]
    assert ran == [[1, 2, 3], [1], [4, 5, 6], [7, 8, 9]], "nobody else is in the engine of its successor"
    assert len(restarts) == 2, "before the first of them alone, and for the successor"
    worker.close()
