"""What the run function of a stage is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from media.clock import Clock
from media.frames import StreamResampler
from pipelines.execution.context import Context
from pipelines.execution.inbox import Inbox
from pipelines.execution.replay import Replay
from pipelines.interfaces.vad import SpeechProbability
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.items import Flow
from pipelines.routing.run import Attempt, Outcome, StageRecord, tried, wishes
from pipelines.routing.stage_engines import StageEngines
from pipelines.routing.stage_types import STAGE_TYPES, StageType, Strict
from pipelines.runtime.worker import Worker

V = TypeVar("V")
O = TypeVar("O", bound=Strict)  # noqa: E741


FOR_NOW: frozenset[Outcome] = frozenset(("failed", "late", "hot", "busy", "resting", "cancelled"))
"""Outcomes after which a stand-in did the work, whose result is not kept as the usual one's."""


@dataclass(frozen=True, slots=True)
class Facilities:
    """What all stages of all runs share."""

    engines: StageEngines
    vad: SpeechProbability
    worker: Worker
    """For what blocks and is no engine: voice activity, pictures."""
    resampler: Callable[[int], StreamResampler]
    """Opens one to a rate in hertz."""
    clock: Clock
    vision: Worker
    """For detectors and drawing."""
    replay: Replay[Any] | None
    """Results that come out the same again; ``None``: all is computed each time."""


@dataclass(frozen=True, slots=True)
class Work:
    """One stage in one run."""

    pipeline: Pipeline
    stage: Stage
    inbox: Inbox
    record: StageRecord
    facilities: Facilities
    context: Context | None
    """What is remembered of earlier runs; ``None``: nothing is to be."""

    @property
    def engines(self) -> StageEngines:
        """Who computes."""
        return self.facilities.engines

    @property
    def beside(self) -> Stage:
        """The stage as engines beside its main one are asked for: the model that it names is the main one's."""
        return self.stage.model_copy(update={"model": "auto"})

    @property
    def streams(self) -> bool:
        """Whether output is given piece by piece."""
        return self.pipeline.options.enable_streaming

    def type_of(self, stage_id: str) -> StageType | None:
        """Of another stage of the pipeline; ``None`` where there is none of that id."""
        return next((stage.type for stage in self.pipeline.stages if stage.id == stage_id), None)

    async def replayed(self, of: Hashable, make: Callable[[], AsyncGenerator[V, None]]) -> AsyncGenerator[V, None]:
        """What ``make()`` yields, which depends on nothing but ``of``, the stage's words and the backend wished for: as
        kept from before, where it is. The record tells of that."""
        replay = self.facilities.replay
        if replay is None:
            stream = make()
        else:
            asked, stage = wishes.get(), self.stage
            words = (stage.type, stage.model, stage.preferred_hardware, str(stage.options), stage.forwarding_policy)
            key = (*words, asked.target_backend, asked.efficiency_mode, of)
            attempts: list[Attempt] = []

            async def made() -> AsyncGenerator[V, None]:
                tried.set(attempts)  # of the task that makes this and nothing else
                async with aclosing(make()) as items:
                    async for item in items:
                        yield item

            def by_the_usual() -> bool:
                return all(attempt.outcome not in FOR_NOW for attempt in attempts)

            stream = replay.stream(key, made, self._replayed, by_the_usual)
        async with aclosing(stream) as items:
            async for item in items:
                yield item

    def _replayed(self, how: str) -> None:
        """Write it down, once for all the pieces of work that came so."""
        if any((one.backend, one.reason) == ("cache", how) for one in self.record.attempts):
            return
        self.record.attempts.append(Attempt("cache", "cpu", self.stage.model, how, "served", seconds=0.0))

    def options(self, kind: type[O]) -> O:
        """The stage's options with their defaults."""
        assert STAGE_TYPES[self.stage.type].options is kind
        return kind.model_validate(dict(self.stage.options))


StageRun = Callable[[Work], Flow]
"""Computes what a stage gives from what comes into its inbox. Raises :class:`~pipelines.errors.PipelineError`."""
