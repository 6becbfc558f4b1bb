"""Runs of pipelines for gRPC: the same places, wishes, records and metrics as for ``POST /v1/pipelines/{id}``."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from pipelines.errors import PipelineError
from pipelines.routing.definition import Pipeline
from pipelines.routing.executor import StageOutput
from pipelines.routing.items import Item
from pipelines.routing.stage_types import Medium
from pipelines.runtime.worker import session
from pipelines.voice.history import new_id
from server.grpc.shell import Call
from server.http.pipelines.house import Pipelines
from server.http.pipelines.places import Places
from server.http.pipelines.ready import with_options
from server.http.pipelines.routes import found
from server.http.pipelines.runs import held, less_the_wait
from server.http.pipelines.store import KeptRun, RunStore
from server.http.pipelines.wishes import asked

Inputs = Mapping[Medium, AsyncIterator[Item]]


@dataclass(frozen=True, slots=True)
class PipelineRuns:
    """Runs pipelines for calls."""

    house: Pipelines
    places: Places
    store: RunStore

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """The one of that id. Raises :class:`~server.http.errors.HttpError` (404)."""
        return found(self.house, pipeline_id)

    async def outputs(self, pipeline: Pipeline, inputs: Inputs, call: Call) -> AsyncGenerator[Item, None]:
        """What the last stages give, as they give it; closing it ends the run.

        Raises :class:`~pipelines.errors.PipelineError`, and :class:`~server.http.errors.HttpError`.
        """
        began = time.monotonic()
        wanted = asked(call.headers, lambda: self.house.backends)
        async with held(self.places, wanted):
            wishes = less_the_wait(wanted, time.monotonic() - began).wishes
            kept = KeptRun(new_id("run"), pipeline.id)
            session.set(kept.id)  # engines serve sessions in turn
            run = self.house.start(pipeline, inputs, wishes, None)
            kept.records = run.records
            self.store.add(kept)
            sinks = {stage.id for stage in pipeline.graph.sinks}
            try:
                async with run, aclosing(run.events()) as events:
                    async for event in events:
                        if isinstance(event, StageOutput) and event.stage in sinks:
                            yield event.item
                kept.finish("completed")
            except PipelineError as error:
                kept.fail(error)
                raise
            finally:
                kept.finish("cancelled")
                self.store.count(kept)
                self.house.observe(pipeline, run.records, kept.total or 0.0)


def by_segments(pipeline: Pipeline, language: str = "") -> Pipeline:
    """The pipeline, whose ears tell what they heard pause by pause and not word by word, which few can; ``language``:
    what is spoken, if that is known."""
    ears = [stage.id for stage in pipeline.stages if stage.type == "audio_to_text"]
    options = {"word_times": False, **({"language": language} if language else {})}
    return with_options(pipeline, dict.fromkeys(ears, options))
