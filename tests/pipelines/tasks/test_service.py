"""The task service with small tasks that need no library: whom it asks, how it batches, what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from pipelines.errors import EngineBusyError, ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.models.residency import Residency
from pipelines.routing.stage_types import Strict
from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import Processor
from pipelines.tasks import service as services
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE, until


class Words(Strict):
    text: str = Field(min_length=1)


class Shouting(Strict):
    times: int = Field(1, ge=1, le=3)


class Echo:
    """What the fake tasks have as their model, and do."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.loads: list[tuple[str, str]] = []
        self.unable: dict[tuple[str, str], Exception] = {}
        self.began, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.ended = threading.Event()
        self.loading, self.at_load = threading.Event(), threading.Event()
        self.at_load.set()

    def load(self, folder: Path, device: str, dtype: str) -> Any:
        self.loads.append((folder.name, device))
        self.loading.set()
        self.at_load.wait()
        if (error := self.unable.get((folder.name, device))) is not None:
            raise error
        return folder.name

    def run(self, model: Any, jobs: Sequence[Job[Any, Any]]) -> Sequence[Done | PipelineError]:
        self.began.set()
        self.gate.wait()
        self.batches.append([job.inputs.text for job in jobs])
        if any(job.inputs.text == "crash" for job in jobs):
            raise ZeroDivisionError
        return [
            TaskError("invalid_value", "text: is bad")
            if job.inputs.text == "bad"
            else Done(job.inputs.text.upper() * job.parameters.times, tokens=1)
            for job in jobs
        ]

    def stream(self, model: Any, job: Job[Any, Any], stopped: Callable[[], bool]) -> Iterator[Any]:
        try:
            for letter in job.inputs.text:
                if stopped():
                    return
                yield letter
            yield Done(job.inputs.text)
        finally:
            self.ended.set()


ECHO = Echo()


def _spec(**changes: Any) -> TaskSpec[Any, Any, Any]:
    fields: dict[str, Any] = {
        "name": "shout",
        "about": "Louder",
        "inputs": Words,
        "parameters": Shouting,
        "output": str,
        "load": lambda *given: ECHO.load(*given),
        "run": lambda *given: ECHO.run(*given),
        "stream": lambda *given: ECHO.stream(*given),
        "cost": lambda job: len(job.inputs.text),
        "packages": (),
        "fits": lambda folder: folder.config.get("loud", False),
    }
    return TaskSpec(**{**fields, **changes})


SHOUT = _spec()
CALM = _spec(name="calm", load=SHOUT.load, run=SHOUT.run, stream=None, cached=lambda job: True)
BARE = _spec(name="bare", needs_model=False)
ABSENT = _spec(name="absent", packages=("no_such_package_here",))
SPELL = _spec(name="spell", load=SHOUT.load, batch=1)
REGISTRY = {name.lower(): f"{__name__}:{name}" for name in ("SHOUT", "CALM", "BARE", "ABSENT", "SPELL")}


def devices(*kinds: str) -> Devices:
    processor = Processor("test", 2, 2)
    return Devices(processor, "cuda" in kinds, False, {"torch": Library("torch", "2", kinds)})  # type: ignore[arg-type]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    fresh = Echo()
    monkeypatch.setitem(globals(), "ECHO", fresh)
    return fresh


def folder(root: Path, name: str, **config: Any) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "config.json").write_text(json.dumps(config))


@pytest.fixture
async def tasks(tmp_path: Path, echo: Echo) -> AsyncIterator[TaskService]:
    for name in ("first", "second"):
        folder(tmp_path, name, loud=True)
    folder(tmp_path, "other/quiet")
    service = TaskService(None, Residency(), lambda: devices("cuda", "cpu"), TaskOptions(folders=(tmp_path,)), REGISTRY)
    yield service
    service.close()


async def test_a_task_tells_its_models_and_who_answered(tasks: TaskService, echo: Echo) -> None:
    assert tasks.models("shout") == ["first", "second"]
    done = await tasks.runner("shout").run({"text": "hey"}, {"times": 2})
    assert (done.output, done.model, done.tokens) == ("HEYHEY", "first", 1)
    assert (await tasks.runner("shout", "other/quiet").run({"text": "a"})).model == "other/quiet"
    assert echo.loads == [("first", "cuda"), ("quiet", "cuda")]
    assert await tasks.runner("bare").run({"text": "x", "times": None}) == Done("X", 1, model="bare")


@pytest.mark.parametrize(
    ("task", "model", "code", "words"),
    [
        ("shut", "auto", "unknown_task", "shout"),
        ("shout", "frist", "unknown_model", "first"),
        ("shout", "../first", "unknown_model", "first"),
        ("shout", "https://example.org/m", "unknown_model", "model: "),
        ("bare", "first", "unknown_model", "without a model"),
        ("absent", "auto", "model_not_here", "no_such_package_here"),
    ],
)
async def test_what_cannot_be_had_is_refused(tasks: TaskService, task: str, model: str, code: str, words: str) -> None:
    with pytest.raises(TaskError, match=words) as caught:
        tasks.runner(task, model)
    assert caught.value.code == code


async def test_only_allowed_models_are_asked(tmp_path: Path, echo: Echo) -> None:
    for name in ("first", "second"):
        folder(tmp_path, name, loud=True)
    options = TaskOptions(allowed=("sec*",), folders=(tmp_path,))
    service = TaskService(None, Residency(), lambda: devices("cpu"), options, REGISTRY)
    assert service.models("shout") == ["second"]
    with pytest.raises(TaskError) as caught:
        service.runner("shout", "first")
    assert caught.value.code == "model_not_allowed"
    assert (await service.runner("shout").run({"text": "a"})).model == "second"
    service.close()


@pytest.mark.parametrize("index", ['{"_class_name": "Stab', "[]", '{"_class_name": ["Flux"]}'])
async def test_a_folder_that_is_half_there_hides_no_other(
    tmp_path: Path, index: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path, "half")
    (tmp_path / "half/model_index.json").write_text(index)
    folder(tmp_path, "whole")
    whole = {"_class_name": "StableDiffusionPipeline"}
    (tmp_path / "whole/model_index.json").write_text(json.dumps(whole))
    service = TaskService(None, Residency(), lambda: devices("cpu"), TaskOptions(folders=(tmp_path,)))
    try:
        for task in service.tasks:
            await service.look(task)
            await service.look(task)
            assert "half" not in service.models(task)
        assert "whole" in service.models("text-to-image")
        assert ("half is passed over" in caplog.text) == index.endswith("Stab")
    finally:
        service.close()


async def test_without_a_model_it_says_what_to_do(echo: Echo) -> None:
    service = TaskService(None, Residency(), lambda: devices("cpu"), TaskOptions(), REGISTRY)
    assert "--models" in service.why_not("shout")
    assert "no_such_package_here" in service.why_not("absent")
    assert not service.why_not("bare")
    with pytest.raises(TaskError, match="no model for shout"):
        service.runner("shout")
    service.close()


@pytest.mark.parametrize(
    ("inputs", "parameters", "words"),
    [
        ({}, {}, "^task: text: is missing"),
        ({"text": ""}, {}, "^task: text: "),
        ({"text": 3}, {}, "^task: text: must be a valid string, not 3"),
        ({"txt": "a"}, {}, "^task: inputs: txt: there is no field 'txt'.*text"),
        ({"text": "a"}, {"times": 4}, "^task: parameters.times: .*less than or equal to 3, not 4"),
        ({"text": "a"}, {"tims": 4}, "^task: parameters: tims: there is no field 'tims'.*times"),
    ],
)
async def test_bad_items_name_their_field(
    tasks: TaskService, inputs: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(TaskError, match=words) as caught:
        await tasks.runner("shout").run(inputs, parameters)
    assert caught.value.code == "invalid_value"


async def test_a_bad_item_and_one_that_crashes_fail_alone(tasks: TaskService, echo: Echo) -> None:
    runner = tasks.runner("shout")
    echo.gate.clear()
    first = asyncio.ensure_future(runner.run({"text": "begin"}))
    rest = [asyncio.ensure_future(runner.run({"text": text})) for text in ("bad", "crash", "fine!")]
    await asyncio.sleep(0)
    echo.gate.set()
    outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [getattr(one, "code", None) or one.output for one in outcomes] == [  # type: ignore[union-attr]
        "BEGIN",
        "invalid_value",
        "task_failed",
        "FINE!",
    ]


async def test_views_of_one_model_share_it_and_its_batches(tasks: TaskService, echo: Echo) -> None:
    echo.gate.clear()
    shout, calm = tasks.runner("shout"), tasks.runner("calm")
    work = [asyncio.ensure_future(shout.run({"text": "a"}))]
    await asyncio.to_thread(echo.began.wait, PATIENCE)
    work += [asyncio.ensure_future(runner.run({"text": text})) for runner, text in ((shout, "b"), (calm, "c"))]
    await until(lambda: sum(worker.waiting for worker in tasks.workers()) == 2)
    echo.gate.set()
    await asyncio.gather(*work)
    assert echo.batches[-1] == ["b", "c"]
    assert len(echo.loads) == 1


def pull(home: Path, revision: str) -> None:
    """What the hub's cache looks like when ``main`` has become ``revision``."""
    if not (home / "snapshots" / revision).exists():
        folder(home / "snapshots", revision, loud=True)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs/main").write_text(revision)


@dataclass
class Pulled:
    """A service with one model, of which revisions are pulled."""

    home: Path
    tasks: TaskService
    clock: FakeClock

    async def pull(self, letter: str, *found_by: str) -> None:
        """The revision is here from now on, and those tasks look; what the others have found before is kept."""
        pull(self.home, letter * 40)
        for task in found_by:
            self.tasks._found.pop(task, None)
            await self.tasks.look(task)


@pytest.fixture
async def pulled(tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pulled]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    clock = FakeClock()
    service = TaskService(None, Residency(), lambda: devices("cpu"), TaskOptions(), REGISTRY, clock=clock)
    yield Pulled(tmp_path / "models--own--thing", service, clock)
    service.close()


async def test_who_asks_with_an_older_revision_gets_the_newest_and_brings_none_back(pulled: Pulled, echo: Echo) -> None:
    await pulled.pull("a", "shout", "calm")
    kept = pulled.tasks.runner("shout")
    assert (await kept.run({"text": "x"})).revision == "a" * 12
    (before,) = pulled.tasks.workers()
    await pulled.pull("b", "shout")
    for text in ("c", "d", "e"):
        for runner in (kept, pulled.tasks.runner("shout"), pulled.tasks.runner("calm")):
            assert (await runner.run({"text": text})).revision == "b" * 12
    assert [name[0] for name, _ in echo.loads] == ["a", "b"]
    assert before.closed
    await pulled.pull("a", "calm")
    assert (await kept.run({"text": "x"})).revision == "a" * 12, "rolled back"
    assert [name[0] for name, _ in echo.loads] == ["a", "b", "a"]
    assert len(pulled.tasks.workers()) == 1
    assert [worker.closed for worker in pulled.tasks._replaced] == [True]


async def test_a_look_that_began_earlier_brings_no_revision_back(pulled: Pulled) -> None:
    await pulled.pull("a", "shout")
    earlier = pulled.tasks._models.here(SHOUT, take=False)
    number = pulled.tasks._next_look()
    await pulled.pull("b", "calm")
    pulled.tasks._know(SHOUT, number, earlier)
    assert (await pulled.tasks.runner("shout").run({"text": "x"})).revision == "b" * 12


async def test_a_stream_that_has_begun_is_finished_by_its_revision_whose_thread_then_ends(pulled: Pulled) -> None:
    await pulled.pull("a", "shout")
    async with aclosing(pulled.tasks.runner("shout").stream({"text": "abc"})) as pieces:
        first = await anext(pieces)
        (before,) = pulled.tasks.workers()
        await pulled.pull("b", "shout")
        assert (await pulled.tasks.runner("shout").run({"text": "x"})).revision == "b" * 12
        assert not before.closed
        rest = [piece async for piece in pieces]
    assert [first, *rest[:-1]] == ["a", "b", "c"]
    assert rest[-1].revision == "a" * 12
    await until(lambda: before.closed)


async def test_a_revision_that_is_replaced_meanwhile_still_has_its_second_device(pulled: Pulled, echo: Echo) -> None:
    pulled.tasks._survey = lambda: devices("cuda", "cpu")
    await pulled.pull("a", "shout")
    echo.unable = {("a" * 40, "cuda"): ModelError("does_not_fit", "too large")}
    echo.at_load.clear()
    asked = asyncio.ensure_future(pulled.tasks.runner("shout").run({"text": "x"}))
    assert await asyncio.to_thread(echo.loading.wait, PATIENCE)
    await pulled.pull("b", "shout")
    newer = asyncio.ensure_future(pulled.tasks.runner("shout").run({"text": "y"}))
    await until(lambda: len(pulled.tasks._replaced) == 2)
    echo.at_load.set()
    assert (await asked).revision == "a" * 12
    assert (await newer).revision == "b" * 12
    await until(lambda: all(worker.closed for worker in pulled.tasks._replaced))


async def test_a_revision_that_replaces_another_is_what_answers(
    tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home, clock, residency = tmp_path / "models--own--thing", FakeClock(), Residency()
    service = TaskService(None, residency, lambda: devices("cpu"), TaskOptions(), REGISTRY, clock=clock)
    try:
        for revision in ("a" * 40, "b" * 40):
            pull(home, revision)
            clock.advance(services.KEPT_SECONDS + 1)
            for task in ("shout", "calm"):
                await service.look(task)
                done = await service.runner(task).run({"text": revision[0]})
                assert done.revision == revision[:12]
        assert [name for name, _ in echo.loads] == ["a" * 40, "b" * 40]
        assert len(service.workers()) == 1
        shutil.rmtree(home / "snapshots" / ("a" * 40))
        residency.unload("own/thing")
        assert (await service.runner("shout").run({"text": "once more"})).revision == "b" * 12
    finally:
        service.close()


async def test_results_are_kept_and_computed_once(tasks: TaskService, echo: Echo) -> None:
    runner = tasks.runner("calm")
    results = await asyncio.gather(*(runner.run({"text": "same"}) for _ in range(5)))
    await runner.run({"text": "same"})
    await runner.run({"text": "same"}, {"times": 2})
    assert len(echo.batches) == 2
    assert len({id(one) for one in results}) == 1


async def test_no_room_leads_to_the_processor_and_then_to_another_model(tasks: TaskService, echo: Echo) -> None:
    echo.unable = {("first", "cuda"): ModelError("does_not_fit", "too large"), ("first", "cpu"): MemoryError()}
    done = await tasks.runner("shout").run({"text": "a"})
    assert done.model == "second"
    assert echo.loads == [("first", "cuda"), ("first", "cpu"), ("first", "cpu"), ("second", "cuda")]
    with pytest.raises(ModelError) as caught:  # one that was named is not replaced
        await tasks.runner("shout", "first").run({"text": "a"})
    assert caught.value.code == "out_of_memory"


async def test_a_broken_model_is_told_if_named_and_passed_over_if_not(tasks: TaskService, echo: Echo) -> None:
    echo.unable = {("first", one): ValueError("no such layer") for one in ("cuda", "cpu")}
    assert (await tasks.runner("shout").run({"text": "a"})).model == "second"
    with pytest.raises(ModelError, match="first cannot be loaded for shout"):
        await tasks.runner("shout", "first").run({"text": "a"})


async def test_pieces_come_and_the_whole_at_the_end(tasks: TaskService) -> None:
    pieces = [piece async for piece in tasks.runner("shout").stream({"text": "abc"})]
    assert pieces[:-1] == ["a", "b", "c"]
    assert (pieces[-1].output, pieces[-1].model) == ("abc", "first")
    with pytest.raises(TaskError, match="one piece"):
        await anext(tasks.runner("calm").stream({"text": "abc"}))


async def test_streams_take_turns_with_each_other(tasks: TaskService) -> None:
    async with (
        aclosing(tasks.runner("shout").stream({"text": "aaaa"})) as first,
        aclosing(tasks.runner("shout").stream({"text": "bb"})) as second,
    ):
        assert [await anext(first), await anext(second), await anext(first)] == ["a", "b", "a"]
        assert (await tasks.runner("shout").run({"text": "c"})).output == "C"
        assert len([piece async for piece in second]) == 2
        assert len([piece async for piece in first]) == 3


async def test_closing_a_stream_ends_its_work(tasks: TaskService, echo: Echo) -> None:
    async with aclosing(tasks.runner("shout").stream({"text": "abcdef"})) as pieces:
        assert await anext(pieces) == "a"
    assert await asyncio.to_thread(echo.ended.wait, PATIENCE)
    await until(lambda: not sum(status.leases for status in tasks._residency.status()))


async def test_what_is_made_piece_by_piece_ends_when_nobody_waits_for_it(tasks: TaskService, echo: Echo) -> None:
    assert (await tasks.runner("spell").run({"text": "abc"})).output == "abc"
    assert echo.batches == []
    echo.ended.clear()
    asked = asyncio.ensure_future(tasks.runner("spell").run({"text": "a" * 1_000_000}))
    await until(lambda: sum(worker.counts().batches for worker in tasks.workers()) > 10)
    assert (await tasks.runner("spell").run({"text": "b"})).output == "b", "others have their turn meanwhile"
    assert not asked.done()
    asked.cancel()
    assert await asyncio.to_thread(echo.ended.wait, PATIENCE)
    await until(lambda: not sum(status.leases for status in tasks._residency.status()))


async def test_who_leaves_before_the_turn_is_not_computed(tasks: TaskService, echo: Echo) -> None:
    echo.gate.clear()
    runner = tasks.runner("shout")
    work = [asyncio.ensure_future(runner.run({"text": "a"}))]
    await asyncio.to_thread(echo.began.wait, PATIENCE)
    work += [asyncio.ensure_future(runner.run({"text": text})) for text in ("b", "c")]
    await until(lambda: sum(worker.waiting for worker in tasks.workers()) == 2)
    work[1].cancel()
    await until(work[1].done)
    echo.gate.set()
    await asyncio.gather(work[0], work[2])
    assert echo.batches == [["a"], ["c"]]


async def test_a_deadline_that_passes_is_told(tasks: TaskService, echo: Echo) -> None:
    echo.gate.clear()
    runner = tasks.runner("shout")
    first = asyncio.ensure_future(runner.run({"text": "a"}))
    await asyncio.to_thread(echo.began.wait, PATIENCE)
    services.deadline.set(tasks._clock.now() + 0.01)
    with pytest.raises(EngineBusyError) as caught:
        await runner.run({"text": "b"})
    assert caught.value.code == "deadline"
    echo.gate.set()
    await first


async def test_the_deadline_of_one_is_not_that_of_another_who_asks_the_same(tasks: TaskService, echo: Echo) -> None:
    echo.gate.clear()
    runner = tasks.runner("calm")
    before = asyncio.ensure_future(runner.run({"text": "a"}))
    await asyncio.to_thread(echo.began.wait, PATIENCE)
    services.deadline.set(tasks._clock.now() + 0.01)
    hurried = asyncio.ensure_future(runner.run({"text": "b"}))
    services.deadline.set(None)
    patient = asyncio.ensure_future(runner.run({"text": "b"}))
    with pytest.raises(EngineBusyError) as caught:
        await hurried
    assert caught.value.code == "deadline"
    echo.gate.set()
    assert (await patient).output == "B"
    await before
