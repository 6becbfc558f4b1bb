"""Models come when they are needed, stay while they are used, and make room for each other."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from pipelines.errors import ModelError
from pipelines.models.memory import MIB
from pipelines.models.plans import Limits, Loadable, ModelEvent
from pipelines.models.residency import Residency, Resident
from pipelines.runtime.worker import Worker
from tests.fakes.clock import FakeClock
from tests.fakes.heap import Heap, Weights
from tests.patience import PATIENCE


class Bench:
    """A residency on a fake heap and clock, and what it said."""

    def __init__(self, budget: int | None = None, total: int = 1000, **limits: object) -> None:
        self.heap = Heap(total)
        self.clock = FakeClock()
        self.events: list[ModelEvent] = []
        budgets = {} if budget is None else {"cpu": budget * MIB}
        self.residency = Residency(
            Limits(budgets=budgets, **{"headroom": 0, **limits}),
            on_event=self.events.append,
            memory=self.heap,
            clock=self.clock,
        )

    def add(self, name: str, mib: int = 100, load: Callable[[], Weights] | None = None, **plan) -> Resident[Weights]:
        """A model that takes ``mib``, as its plan says too unless told otherwise."""
        plan = {"estimate": mib * MIB, **plan}
        return self.residency.add(Loadable(name, load or self.heap.loader(mib), **plan))

    def use(self, resident: Resident[Weights], seconds: float = 1.0) -> Weights:
        with resident.lease() as model:
            self.clock.advance(seconds)
            return model

    @property
    def ready(self) -> list[str]:
        return [status.name for status in self.residency.status() if status.state == "ready"]

    @property
    def told(self) -> list[str]:
        return [f"{event.model} {event.transition}" for event in self.events]


def test_loads_once_at_the_first_lease_and_shares_the_copy():
    bench = Bench()
    resident = bench.add("stt")
    assert bench.ready == []
    with resident.lease() as one, resident.lease() as other:
        assert one is other
        assert bench.residency.status()[0].leases == 2
    again = bench.add("stt")  # another stage asks for the same model
    with again.lease() as third:
        assert third is one
    assert bench.told == ["stt loading", "stt ready"]
    assert bench.residency.status()[0].loads == 1


def test_another_version_is_another_model_and_the_one_before_goes_when_it_is_free():
    bench = Bench()
    old = bench.residency.add(Loadable("stt", lambda: "old", version="1"))
    with old.lease() as before:
        new = bench.residency.add(Loadable("stt", lambda: "new", version="2"))
        with new.lease() as after, old.lease() as still:
            assert (before, after, still) == ("old", "new", "old")
        bench.residency.sweep(bench.clock.now())
    (status,) = bench.residency.status()
    assert (status.state, status.leases) == ("ready", 0)
    bench.events.clear()
    bench.residency.sweep(bench.clock.now())
    assert bench.told == ["stt evicted"]
    with bench.residency.add(Loadable("stt", lambda: "newer", version="2")).lease() as model:
        assert model == "new"
    bench.residency.add(Loadable("stt", lambda: "newest", version="3"))
    assert bench.residency.status()[0].state == "unloaded"


def test_of_a_version_before_nothing_is_kept_that_is_not_in_memory():
    bench = Bench()
    held = [bench.residency.add(Loadable("stt", partial(str, version), version=str(version))) for version in range(9)]
    assert not bench.residency._mover.replaced, "they were never loaded"
    for _ in range(3):
        with held[0].lease() as older, held[-1].lease() as newest:
            assert (older, newest) == ("0", "8")
            bench.residency.sweep(bench.clock.now())
            assert len(bench.residency._mover.replaced) == 1
        bench.residency.sweep(bench.clock.now())
        assert not bench.residency._mover.replaced, "unloaded, though it was replaced before it was loaded"


def test_a_version_before_that_cannot_be_loaded_is_not_kept():
    bench = Bench()
    old = bench.residency.add(Loadable("stt", lambda: 1 / 0, version="1"))
    bench.residency.add(Loadable("stt", lambda: "new", version="2"))
    with pytest.raises(ModelError), old.lease():
        pass
    assert not bench.residency._mover.replaced


def test_two_precisions_are_two_models():
    bench = Bench()
    coarse, fine = bench.add("stt", precision="int8"), bench.add("stt", precision="float32")
    with coarse.lease() as one, fine.lease() as other:
        assert one is not other
    assert [status.precision for status in bench.residency.status()] == ["int8", "float32"]
    assert bench.residency.transitions[("stt", "int8", "cpu"), "ready"] == 1


def test_the_ready_event_says_how_long_and_how_much():
    bench = Bench()

    def load() -> Weights:
        bench.clock.advance(2.0)
        return bench.heap.allocate(120)

    resident = bench.add("llm", 50, load, warm_up=lambda model: bench.clock.advance(0.5), device="cpu")
    bench.use(resident)
    assert bench.events[-1] == ModelEvent("llm", "ready", "", "cpu", seconds=2.5, size=120 * MIB)
    status = bench.residency.status()[0]
    assert (status.size, status.loads, status.load_seconds) == (120 * MIB, 1, 2.5)


def test_what_is_mapped_from_a_file_is_measured_at_its_first_use():
    bench = Bench()
    pages: list[Weights] = []
    resident = bench.add("mapped", 50, lambda: bench.heap.allocate(1))
    with resident.lease():
        assert bench.residency.status()[0].size == 50 * MIB  # the estimate
        pages.append(bench.heap.allocate(80))
    assert bench.residency.status()[0].size == 81 * MIB


def test_a_first_use_that_was_not_alone_is_not_taken_for_a_measure():
    bench = Bench()
    resident, other = bench.add("mapped", 50, lambda: bench.heap.allocate(1)), bench.add("other", 200)
    with resident.lease(), other.lease():
        pass
    assert [status.size for status in bench.residency.status()] == [50 * MIB, 200 * MIB]


def test_a_second_load_that_finds_memory_the_process_kept_does_not_shrink_the_measure():
    bench = Bench(idle_seconds=0.0)
    sizes = [100, 3]
    resident = bench.add("stt", 50, lambda: bench.heap.allocate(sizes.pop(0)), warm_up=lambda model: None)
    for _ in range(2):
        bench.use(resident)
        bench.residency.sweep(bench.clock.now())
    assert bench.residency.status()[0].size == 100 * MIB
    assert bench.residency.status()[0].loads == 2


def test_idle_models_are_unloaded_and_their_memory_is_given_back():
    bench = Bench(idle_seconds=60.0)
    ended: list[Weights] = []
    stt = bench.add("stt", 100, unload=ended.append)
    bench.use(stt)
    bench.clock.advance(59.0)
    bench.residency.sweep(bench.clock.now())
    assert bench.ready == ["stt"]
    with stt.lease():
        bench.clock.advance(500.0)
        bench.residency.sweep(bench.clock.now())
        assert bench.ready == ["stt"]  # however long ago the lease was taken
    bench.clock.advance(60.0)
    bench.residency.sweep(bench.clock.now())
    assert bench.told == ["stt loading", "stt ready", "stt idle_unloaded"]
    assert bench.events[-1].size == 100 * MIB
    assert len(ended) == 1
    ended.clear()
    assert bench.heap.used("cpu") == 100 * MIB  # nothing of ours is left
    assert bench.heap.trims == 1


def test_never_idle():
    bench = Bench(idle_seconds=None)
    bench.use(bench.add("stt"))
    bench.residency.sweep(1e9)
    assert bench.ready == ["stt"]


def test_the_least_recently_used_makes_room_in_the_budget():
    bench = Bench(budget=300)
    a, b, c = (bench.add(name, 100) for name in "abc")
    for resident in (a, b, c, a):
        bench.use(resident)
    bench.use(bench.add("d", 150))
    assert bench.ready == ["a", "d"]
    assert bench.told[-4:] == ["d loading", "b evicted", "c evicted", "d ready"]


def test_the_machine_may_be_fuller_than_the_budget_allows():
    bench = Bench(budget=5000, total=1000, headroom=200 * MIB)  # 700 to be had
    bench.use(bench.add("a", 400))
    bench.use(bench.add("b", 400))
    assert bench.ready == ["b"]


def test_what_is_leased_is_not_evicted_and_the_error_says_who_has_the_memory():
    bench = Bench(budget=500)
    llm, stt = bench.add("llm", 300), bench.add("stt", 100)
    bench.use(stt)
    with llm.lease(), pytest.raises(ModelError) as error, bench.add("huge", 401).lease():
        pass
    assert error.value.code == "does_not_fit"
    assert error.value.message == (
        "huge needs 401 MiB on cpu; the budget for models is 500 MiB; 500 MiB are free; "
        "loaded are llm 300 MiB (in use), stt 100 MiB"
    )
    assert bench.ready == ["llm", "stt"]  # nobody was evicted in vain
    assert bench.told[-2:] == ["huge loading", "huge failed"]
    assert bench.events[-1].message == error.value.message


def test_a_model_that_turns_out_larger_than_estimated_pushes_others_out():
    bench = Bench(budget=300)
    bench.use(bench.add("a", 100))
    bench.use(bench.add("liar", 100, bench.heap.loader(250), warm_up=lambda model: None))
    assert bench.ready == ["liar"]


def test_a_sweep_evicts_what_turned_out_too_large_at_its_first_use():
    bench = Bench(budget=300)
    old, mapped = bench.add("old", 100), bench.add("mapped", 100, bench.heap.loader(1))
    bench.use(old)
    with mapped.lease():
        pages = bench.heap.allocate(250)
        bench.clock.advance(1.0)
    assert bench.ready == ["old", "mapped"]
    bench.residency.sweep(bench.clock.now())
    assert bench.ready == ["mapped"]
    del pages


def test_out_of_memory_while_loading_unloads_what_is_idle_and_tries_again():
    bench = Bench(total=1000)
    bench.use(bench.add("idle", 500))
    with bench.add("busy", 200).lease():
        surprise = bench.add("surprise", 600, estimate=0)  # nobody knew how large it is
        with surprise.lease() as model:
            assert model.size == 600 * MIB
        assert bench.ready == ["busy", "surprise"]
    assert bench.told[-4:] == ["surprise loading", "surprise out_of_memory", "idle evicted", "surprise ready"]
    assert bench.residency.status()[2].size == 600 * MIB


def test_out_of_memory_twice_is_told_so_that_the_next_backend_is_tried():
    bench = Bench(total=1000)
    tries = []

    def load() -> Weights:
        tries.append(1)
        return bench.heap.allocate(2000)

    with pytest.raises(ModelError, match="huge ran out of memory: DefaultCPUAllocator") as error:
        bench.use(bench.add("huge", load=load, estimate=0))
    assert error.value.code == "out_of_memory"
    assert len(tries) == 2
    assert bench.told == ["huge loading", "huge out_of_memory", "huge failed"]


def test_out_of_memory_while_warming_up_drops_the_half_made_model():
    bench = Bench(total=1000)
    ended = []

    def warm_up(model: Weights) -> None:
        bench.heap.allocate(900)

    with pytest.raises(ModelError, match="out of memory") as error:
        bench.use(bench.add("llm", 100, warm_up=warm_up, unload=lambda model: ended.append(model.size)))
    assert len(ended) == 2
    assert bench.heap.used("cpu") == 100 * MIB, "whoever holds the error must not hold the model by it"
    assert error.value.__cause__ is not None


def test_out_of_memory_in_a_computation_frees_what_is_idle_for_a_second_attempt():
    bench = Bench(total=1000)
    bench.use(bench.add("idle", 500))
    llm = bench.add("llm", 300)
    with pytest.raises(ModelError, match="llm ran out of memory") as error, llm.lease():
        bench.heap.allocate(400)
    assert error.value.code == "out_of_memory"
    assert bench.told[-2:] == ["llm out_of_memory", "idle evicted"]
    with llm.lease():
        assert bench.heap.allocate(400).size == 400 * MIB
    for _ in range(2):
        with pytest.raises(ModelError, match="llm ran out of memory"), llm.lease():
            bench.heap.allocate(5000)
    assert bench.told[-2:] == ["llm out_of_memory"] * 2
    assert bench.residency.status()[1].leases == 0


def test_other_errors_pass_through_a_lease():
    bench = Bench()
    llm = bench.add("llm")
    with pytest.raises(ZeroDivisionError), llm.lease():
        raise ZeroDivisionError
    assert bench.residency.status()[0].leases == 0
    assert bench.ready == ["llm"]


def test_a_model_that_cannot_be_loaded_says_why_and_may_be_tried_again():
    bench = Bench()
    problems: list[Exception] = [ValueError("not a model file\nline two"), ModelError("model_unavailable", "no source")]

    def load() -> Weights:
        if problems:
            raise problems.pop(0)
        return bench.heap.allocate(1)

    stt = bench.add("stt", load=load)
    with pytest.raises(ModelError, match=r"^models: stt failed to load: not a model file \(load_failed\)$"):
        bench.use(stt)
    with pytest.raises(ModelError, match="no source"):
        bench.use(stt)
    assert bench.events[-1].message == "no source"
    bench.use(stt)
    assert bench.ready == ["stt"]
    assert bench.residency.transitions[("stt", "", "cpu"), "failed"] == 2


def test_an_unload_that_fails_is_logged_and_the_model_is_gone(caplog):
    bench = Bench(idle_seconds=0.0)
    bench.use(bench.add("stt", unload=lambda model: 1 // 0))
    with caplog.at_level(logging.ERROR):
        bench.residency.sweep(bench.clock.now())
    assert "unloading stt" in caplog.text
    assert bench.told[-1] == "stt idle_unloaded"


class Gate:
    """A loader that waits to be let through."""

    def __init__(self, load: Callable[[], Weights]) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.calls = 0
        self._load = load

    def __call__(self) -> Weights:
        self.calls += 1
        self.begun.set()
        assert self.open.wait(PATIENCE)
        return self._load()


def test_two_lease_at_once_while_a_third_sweeps():
    bench = Bench(idle_seconds=0.0)
    gate = Gate(bench.heap.loader(100))
    resident = bench.add("stt", load=gate)
    both, swept = threading.Barrier(2, timeout=PATIENCE), threading.Event()

    def compute() -> Weights:
        with resident.lease() as model:
            both.wait()
            assert swept.wait(PATIENCE)
            return model

    with ThreadPoolExecutor(3) as threads:
        users = [threads.submit(compute) for _ in range(2)]
        assert gate.begun.wait(PATIENCE)
        assert bench.residency.status()[0].state == "loading"
        sweeper = threads.submit(bench.residency.sweep, 1e9)
        gate.open.set()
        sweeper.result(PATIENCE)
        bench.residency.sweep(1e9)
        swept.set()
        one, other = (user.result(PATIENCE) for user in users)
    assert one is other
    assert gate.calls == 1
    assert bench.told == ["stt loading", "stt ready"]
    bench.residency.sweep(1e9)
    assert bench.ready == []


def test_those_who_waited_for_a_load_that_failed_do_not_try_it_again():
    bench = Bench()

    def fail() -> Weights:
        raise ValueError("broken file")

    gate = Gate(fail)
    resident = bench.add("stt", load=gate)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(bench.use, resident)
        assert gate.begun.wait(PATIENCE)
        waiting = Waiting(bench.residency)
        second = threads.submit(bench.use, resident)
        assert waiting.seen.wait(PATIENCE)
        gate.open.set()
        for user in (first, second):
            with pytest.raises(ModelError, match="broken file"):
                user.result(PATIENCE)
    assert gate.calls == 1


class Waiting:
    """Sees when a further thread waits for the one that loads."""

    def __init__(self, residency: Residency) -> None:
        self.seen = threading.Event()
        mover = residency._mover
        self._moving = mover.moving
        mover.moving = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        self.seen.set()
        self._moving.acquire()

    def __exit__(self, *_: object) -> None:
        self._moving.release()


def test_nobody_ever_holds_a_model_that_has_been_unloaded():
    bench = Bench(budget=250, idle_seconds=0.0)  # two of three, so that they push each other out

    def unload(model: Weights) -> None:
        model.unloaded = True

    residents = [bench.add(name, 100, unload=unload) for name in "abc"]
    start, over = threading.Barrier(3, timeout=PATIENCE), threading.Event()

    def compute(offset: int) -> None:
        start.wait()
        for n in range(300):
            with residents[(n * (offset + 1) + offset) % 3].lease() as model:
                assert not model.unloaded
                assert sum(s.size for s in bench.residency.status() if s.state == "ready") <= 250 * MIB
                assert not model.unloaded

    def sweep() -> None:
        start.wait()
        while not over.is_set():
            bench.residency.sweep(1e9)

    with ThreadPoolExecutor(3) as threads:
        users = [threads.submit(compute, offset) for offset in range(2)]
        sweeper = threads.submit(sweep)
        try:
            for user in users:
                user.result(PATIENCE)
        finally:
            over.set()
        sweeper.result(PATIENCE)
    bench.residency.sweep(1e9)
    assert bench.ready == []
    assert all(status.leases == 0 for status in bench.residency.status())
    gone = [event for event in bench.events if event.transition in ("idle_unloaded", "evicted")]
    assert len(gone) == sum(status.loads for status in bench.residency.status()) >= 3


async def test_sweeps_from_time_to_time_until_its_owner_cancels_it():
    bench = Bench(idle_seconds=25.0)
    worker = Worker("sweeper")
    await worker.run(bench.use, bench.add("stt"), 0.0)
    running = asyncio.create_task(bench.residency.run(worker, every_seconds=10.0))
    for expected in (["stt"], ["stt"], []):
        assert await bench.clock.sleeper() == 10.0
        bench.clock.advance(10.0)
        await bench.clock.sleeper()  # again: it has woken and swept
        assert bench.ready == expected
    running.cancel()
    await asyncio.wait([running])
    worker.close()
