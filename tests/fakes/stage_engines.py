"""Engines of stages, as routes give them, that do as told; and pipelines and inputs for their runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from media.clock import Clock
from media.resample import Resampler
from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done
from pipelines.routing.definition import Pipeline
from pipelines.routing.executor import Executor, Run, RunEvent, StageOutput
from pipelines.routing.items import Item, Partial, Sound, Text
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, LoudnessVad
from tests.fakes.vision import FakeVision
from tests.patience import PATIENCE


class FakeTask:
    """A task that gives what ``answer`` makes of its inputs and parameters; counts what is begun and given up."""

    def __init__(self, answer: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        """Results wait for it."""
        self.gate.set()

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        self.asked.append((dict(inputs), dict(parameters or {})))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.answer(inputs, parameters or {})
        if isinstance(answer, Exception):
            raise answer
        return Done(answer)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        yield await self.run(inputs, parameters)


class FakeStageEngines:
    """Implements :class:`~pipelines.routing.stage_engines.StageEngines`."""

    def __init__(
        self, *, stt: Any = None, llm: Any = None, tts: Any = None, vision: Any = None, tasks: Any = None
    ) -> None:
        self.stt = stt or FakeRecognizer()
        self.llm = llm or FakeModel()
        self.tts = tts or FakeVoice()
        self.seen = vision or FakeVision()
        self.tasks: dict[str, FakeTask] = tasks or {}
        self.models: dict[str, str] = {}
        """Which model each kind of engine was asked for."""

    def recognizer(self, pipeline: Any, stage: Any) -> Any:
        self.models["recognizer"] = stage.model
        return self.stt

    def model(self, pipeline: Any, stage: Any) -> Any:
        self.models["model"] = stage.model
        return self.llm if not isinstance(self.llm, dict) else self.llm[stage.id]

    def voice(self, pipeline: Any, stage: Any) -> Any:
        self.models["voice"] = stage.model
        return self.tts

    def vision(self, pipeline: Any, stage: Any) -> Any:
        self.models["vision"] = stage.model
        return self.seen

    def task(self, pipeline: Any, stage: Any, task: str) -> Any:
        self.models[task] = stage.model
        return self.tasks[task]

    def plan(self, pipeline: Any, stage: Any, wishes: Any) -> Any:
        return ()


def pipeline(*stages: Mapping[str, Any], **options: Any) -> Pipeline:
    """Of stages as in a file."""
    return Pipeline.model_validate({"id": "test", "stages": list(stages), "options": options})


VOICE = (
    {"id": "listen", "type": "audio_to_text"},
    {"id": "think", "type": "text_generation"},
    {"id": "speak", "type": "text_to_audio"},
)


async def gives(*items: Item) -> AsyncGenerator[Item, None]:
    """An input that is there at once."""
    for item in items:
        yield item


def spoken(seconds: float, rate: int = 16_000) -> Sound:
    """What :class:`LoudnessVad` takes for speech."""
    samples = np.where(np.arange(int(seconds * rate)) % 40 < 20, 8000, -8000).astype(np.int16)
    return Sound(samples, rate)


def quiet(seconds: float, rate: int = 16_000) -> Sound:
    return Sound(np.zeros(int(seconds * rate), np.int16), rate)


@asynccontextmanager
async def executing(engines: Any, clock: Clock | None = None) -> AsyncIterator[Executor]:
    executor = Executor(engines, LoudnessVad(), Resampler, clock)
    try:
        async with asyncio.timeout(PATIENCE):
            yield executor
    finally:
        executor.close()


async def all_events(run: Run) -> list[RunEvent]:
    async with run:
        return [event async for event in run.events()]


async def failing(run: Run) -> tuple[list[RunEvent], PipelineError]:
    """What happens in a run, and the error that ends it."""
    events: list[RunEvent] = []
    async with run:
        try:
            async for event in run.events():
                events.append(event)  # noqa: PERF401 - those before the error are wanted
        except PipelineError as error:
            return events, error
    raise AssertionError("the run did not fail")


async def outputs(executor: Executor, *args: Any, **kwargs: Any) -> list[tuple[str, Item]]:
    """Stage and item of a whole run, without partials."""
    events = await all_events(executor.start(*args, **kwargs))
    found = [(event.stage, event.item) for event in events if isinstance(event, StageOutput)]
    return [(stage, item) for stage, item in found if not isinstance(item, Partial)]


def text_of(found: Iterable[tuple[str, Item]], stage: str) -> str:
    return "".join(item.text for name, item in found if name == stage and isinstance(item, Text))


def seconds_of(found: Iterable[tuple[str, Item]], stage: str) -> float:
    return sum(len(item.samples) / item.rate for name, item in found if name == stage and isinstance(item, Sound))
