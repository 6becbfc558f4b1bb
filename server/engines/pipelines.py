"""All pipelines of a server, put together: definitions, backends, who runs them, and what is remembered and counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from media.clock import Clock
from media.resample import Resampler
from pipelines.execution.context import Contexts
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.executor import Executor, Run
from pipelines.routing.items import Item
from pipelines.routing.library import Library
from pipelines.routing.run import Attempt, StageRecord, Wishes
from pipelines.routing.stage_types import Medium
from server.engines.backends import RoutedEngines
from server.engines.build import Engines
from server.stores import shipped_library

Observe = Callable[[Pipeline, Iterable[StageRecord], float], object]
"""Is told of every run that has ended, and of its seconds."""


class PipelineHouse:
    """:class:`server.http.pipelines.house.Pipelines` over definitions and engines."""

    def __init__(
        self, library: Library, engines: RoutedEngines, executor: Executor, clock: Clock, observe: Observe
    ) -> None:
        self.engines = engines
        self._library = library
        self._executor = executor
        self._contexts = Contexts(clock.now)
        self._observe = observe

    @property
    def all(self) -> Sequence[Pipeline]:
        """Those that can be run, as they are defined now."""
        return list(self._library.pipelines.values())

    @property
    def problems(self) -> Sequence[tuple[str, str]]:
        """File and what is wrong with it."""
        return [(Path(problem.file).name, problem.message) for problem in self._library.problems]

    @property
    def backends(self) -> Sequence[str]:
        """Ids of the backends that a request may force."""
        return self.engines.backends

    def origin(self, pipeline_id: str) -> tuple[str, bool]:
        """The file that a pipeline comes from, and whether it ships."""
        entry = self._library.state.entries[pipeline_id]
        return entry.file.name, entry.shipped

    def get(self, pipeline_id: str) -> Pipeline:
        """The pipeline. Raises :class:`~pipelines.errors.DefinitionError` naming those there are."""
        return self._library.get(pipeline_id)

    def find(self, pipeline_id: str) -> Pipeline | None:
        """The pipeline of that id."""
        return self._library.pipelines.get(pipeline_id)

    def start(
        self,
        pipeline: Pipeline,
        inputs: Mapping[Medium, AsyncIterator[Item]],
        wishes: Wishes,
        context_id: str | None,
    ) -> Run:
        """One run. Raises :class:`~pipelines.errors.PipelineError` (``wrong_input``).

        A conversation is one with a pipeline: the stages of another mean something else by the same ids.
        """
        context = None if context_id is None else self._contexts.get(f"{pipeline.id}/{context_id}")
        return self._executor.start(pipeline, inputs, wishes, context=context)

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: Wishes) -> Sequence[Attempt]:
        """Who would be asked now, in order, and who is passed over and why."""
        return self.engines.plan(pipeline, stage, wishes)

    def observe(self, pipeline: Pipeline, records: Mapping[str, StageRecord], seconds: float) -> None:
        """A run has ended."""
        if pipeline.options.collect_metrics:
            self._observe(pipeline, records.values(), seconds)

    def close(self) -> None:
        """End what runs pipelines; the engines stay with their owner."""
        self._executor.close()


def pipeline_house(engines: Engines, clock: Clock, observe: Observe) -> PipelineHouse:
    """The pipelines that these engines can run."""
    executor = Executor(engines.routes, engines.voice.vad, Resampler, clock)
    return PipelineHouse(engines.library or shipped_library(), engines.routes, executor, clock, observe)
