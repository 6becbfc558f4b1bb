"""When memory runs out in a computation: unload what is idle, try once more, ask the next backend. In that order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import Sampling
from pipelines.errors import LLMError, PipelineError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.models.plans import Limits, Loadable, ModelEvent
from pipelines.models.residency import Residency
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.stage_types import Strict
from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import Processor
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes.engines import FakeModel
from tests.fakes.heap import Heap
from tests.pipelines.engines.llm.test_chat_local import Letters


class Words(Strict):
    text: str


class Nothing(Strict):
    pass


LOG: list[str] = []
"""What has happened."""
FAILURES = [0]
"""How often the GPU still runs out of memory."""


def _run(device: str, jobs: Sequence[Job[Any, Any]]) -> Sequence[Done | PipelineError]:
    LOG.append(f"run on {device}")
    if device == "cuda" and FAILURES[0]:
        FAILURES[0] -= 1
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return [Done(job.inputs.text) for job in jobs]


SAY = TaskSpec(
    name="say", about="", inputs=Words, parameters=Nothing, output=str, packages=(),
    load=lambda folder, device, dtype: device, run=_run, fits=lambda folder: True,
)  # fmt: skip


@pytest.fixture
def residency() -> Residency:
    """On a fake heap, with a model in memory that nobody uses."""
    LOG.clear()

    def told(event: ModelEvent) -> None:
        if event.transition in ("evicted", "out_of_memory"):
            LOG.append(f"{event.model.partition(' ')[0]} {event.transition}")

    heap = Heap()
    residency = Residency(Limits(headroom=0), on_event=told, memory=heap)
    for device in ("cuda", "cpu"):
        with residency.add(Loadable(f"idle-{device}", heap.loader(100), device=device)).lease():
            pass
    return residency


@pytest.fixture
async def tasks(tmp_path: Path, residency: Residency) -> AsyncIterator[TaskService]:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({}), "utf-8")
    found = Devices(Processor("test", 2, 2), True, False, {"torch": Library("torch", "2", ("cuda", "cpu"))})
    options = TaskOptions(folders=(tmp_path,))
    service = TaskService(None, residency, lambda: found, options, {"say": f"{__name__}:SAY"})
    yield service
    service.close()


@pytest.mark.parametrize(
    ("failures", "log"),
    [
        (1, ["run on cuda", "model out_of_memory", "idle-cuda evicted", "run on cuda"]),
        (
            2,
            [
                *("run on cuda", "model out_of_memory", "idle-cuda evicted"),
                *("run on cuda", "model out_of_memory", "run on cpu"),
            ],
        ),
    ],
)
async def test_a_task(failures: int, log: list[str], tasks: TaskService) -> None:
    FAILURES[0] = failures
    assert (await tasks.runner("say").run({"text": "hello"})).output == "hello"
    assert log == LOG
    assert "idle-cpu evicted" not in LOG, "what another device holds would not help"


class Hungry(Letters):
    """Runs out of memory so often."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def begin(self, prompt: Any, sampling: Sampling, limit: int, owner: str, adapters: Any = ()) -> Any:
        LOG.append("begin")
        return super().begin(prompt, sampling, limit, owner)

    def step(self, batch: Any) -> Any:
        if self.failures:
            self.failures -= 1
            return [MemoryError()] * len(batch)
        return super().step(batch)


@pytest.mark.parametrize(
    ("failures", "log", "words"),
    [
        (1, ["begin", "hungry out_of_memory", "idle-cpu evicted", "begin"], "hello"),
        (2, ["begin", "hungry out_of_memory", "idle-cpu evicted", "begin", "hungry failed"], "The other."),
    ],
)
async def test_an_answer(failures: int, log: list[str], words: str, residency: Residency) -> None:
    model = Hungry(failures)
    chat = LocalChat(residency.add(Loadable("hungry", lambda: model)))

    def failed(name: str, error: Any) -> None:
        assert isinstance(error, LLMError)
        assert error.code == "out_of_memory"
        LOG.append(f"{name} failed")

    ladder = FallbackModel([chat, FakeModel("The other.")], failed)
    try:
        request = ChatRequest((Message("user", "hello"),), max_tokens=50)
        async with aclosing(ladder.stream(request)) as pieces:
            assert "".join([str(piece) async for piece in pieces]).strip() == words
    finally:
        await chat.close()
    assert log == LOG
    assert model.open == 0
