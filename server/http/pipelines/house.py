"""What the routes need of the pipelines: their definitions, who runs them, and what they are told about a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.executor import Run
from pipelines.routing.items import Item
from pipelines.routing.run import Attempt, StageRecord, Wishes
from pipelines.routing.stage_types import Medium


class Pipelines(Protocol):
    """All pipelines of this server."""

    @property
    def all(self) -> Sequence[Pipeline]:
        """Those that can be run, as they are defined now."""
        ...

    @property
    def problems(self) -> Sequence[tuple[str, str]]:
        """File and what is wrong with it."""
        ...

    @property
    def backends(self) -> Sequence[str]:
        """Ids of the backends that a request may force."""
        ...

    def origin(self, pipeline_id: str) -> tuple[str, bool]:
        """The file that a pipeline comes from, and whether it ships."""
        ...

    def find(self, pipeline_id: str) -> Pipeline | None:
        """The pipeline of that id."""
        ...

    def start(
        self,
        pipeline: Pipeline,
        inputs: Mapping[Medium, AsyncIterator[Item]],
        wishes: Wishes,
        context_id: str | None,
    ) -> Run:
        """One run. Raises :class:`~pipelines.errors.PipelineError` (``wrong_input``)."""
        ...

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: Wishes) -> Sequence[Attempt]:
        """Who would be asked now, in order, and who is passed over and why."""
        ...

    def observe(self, pipeline: Pipeline, records: Mapping[str, StageRecord], seconds: float) -> None:
        """A run has ended."""
        ...

    def close(self) -> None:
        """End what runs pipelines. Idempotent."""
        ...
