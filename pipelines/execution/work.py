"""What the run function of a stage is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from media.clock import Clock
from media.frames import StreamResampler
from pipelines.execution.context import Context
from pipelines.execution.inbox import Inbox
from pipelines.interfaces.vad import SpeechProbability
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.items import Flow
from pipelines.routing.run import StageRecord
from pipelines.routing.stage_engines import StageEngines
from pipelines.routing.stage_types import STAGE_TYPES, StageType, Strict
from pipelines.runtime.worker import Worker

O = TypeVar("O", bound=Strict)  # noqa: E741


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
    def streams(self) -> bool:
        """Whether output is given piece by piece."""
        return self.pipeline.options.enable_streaming

    def type_of(self, stage_id: str) -> StageType | None:
        """Of another stage of the pipeline; ``None`` where there is none of that id."""
        return next((stage.type for stage in self.pipeline.stages if stage.id == stage_id), None)

    def options(self, kind: type[O]) -> O:
        """The stage's options with their defaults."""
        assert STAGE_TYPES[self.stage.type].options is kind
        return kind.model_validate(dict(self.stage.options))


StageRun = Callable[[Work], Flow]
"""Computes what a stage gives from what comes into its inbox. Raises :class:`~pipelines.errors.PipelineError`."""
