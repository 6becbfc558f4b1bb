"""Runs a pipeline: its stages as tasks of one group, what they give as a stream of events.

Three things an option decides. ``enable_streaming``: whether a stage works on what has come so far while the stage
before goes on, or gets all of it and gives all of it (batch). ``parallel_stages``: whether stages that do not depend on
each other run at the same time; else one begins when those before it in the file have ended, and what comes for it is
kept until then, or until that is too much (:data:`~pipelines.execution.pipe.MOST_WAITING`). ``preserve_context``:
whether what was said before is known, in this run and in earlier ones with the same
:class:`~pipelines.execution.context.Context`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from media.clock import Clock, MonotonicClock
from media.frames import StreamResampler
from pipelines.errors import PipelineError, foreign_errors, only_logged
from pipelines.execution.context import Context
from pipelines.execution.inbox import Inbox, input_of, size_of
from pipelines.execution.pipe import Holds, Pipe
from pipelines.execution.replay import MOST_BYTES, Replay, bytes_of
from pipelines.execution.whole import whole
from pipelines.execution.work import Facilities, Work
from pipelines.interfaces.vad import SpeechProbability
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.graph import INPUT
from pipelines.routing.items import Flow, Item, Partial, Sound
from pipelines.routing.run import StageRecord, Wishes
from pipelines.routing.run import record as record_of_task
from pipelines.routing.run import wishes as wishes_of_task
from pipelines.routing.stage_engines import StageEngines
from pipelines.routing.stage_types import STAGE_TYPES, Medium
from pipelines.runtime.worker import Worker
from pipelines.stages.table import ACCEPTS, RUNS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageStarted:
    """There is something for the stage to work on."""

    stage: str


@dataclass(frozen=True, slots=True)
class StageOutput:
    """The stage gave this."""

    stage: str
    item: Item


@dataclass(frozen=True, slots=True)
class StageEnded:
    """The stage gave all, failed or was cancelled, as its record tells."""

    stage: str
    record: StageRecord


RunEvent = StageStarted | StageOutput | StageEnded
CANCELLED = "cancelled"
"""In :attr:`StageRecord.error` of a stage that was ended because the run was."""


class Executor:
    """Starts runs.

    ``vad`` cuts sound at pauses; ``resampler`` opens a :class:`media.resample.Resampler`. The executor owns threads
    for what blocks and is no engine; :meth:`close` ends them.
    """

    def __init__(
        self,
        engines: StageEngines,
        vad: SpeechProbability,
        resampler: Callable[[int], StreamResampler],
        clock: Clock | None = None,
        cache_bytes: int = MOST_BYTES,
    ) -> None:
        """``cache_bytes`` are kept of results that come out the same again; 0: none."""
        clock = clock or MonotonicClock()
        self._facilities = Facilities(
            engines=engines,
            vad=vad,
            worker=Worker("stages", inbox=1024),
            resampler=resampler,
            clock=clock,
            vision=Worker("stage vision", inbox=256),
            replay=Replay(clock, bytes_of, most=cache_bytes) if cache_bytes else None,
        )

    def start(
        self,
        pipeline: Pipeline,
        inputs: Mapping[Medium, AsyncIterator[Item]],
        wishes: Wishes | None = None,
        *,
        context: Context | None = None,
    ) -> Run:
        """One run on ``inputs``, which begins when its context is entered. What is wrong with an input its iterator
        raises as :class:`PipelineError`; the run closes those that are generators.

        A stage that reads the pipeline's input and is given none of what it takes is left out, if there is something
        to give without it. Raises :class:`PipelineError` (``wrong_input``) otherwise, or when nobody takes an input.
        """
        lacking = pipeline.graph.lacking(tuple(inputs))
        strange = [medium for medium in inputs if medium not in pipeline.takes]
        if not lacking and strange:
            lacking = f"takes {', '.join(pipeline.takes)}; nobody takes {', '.join(strange)}"
        if lacking:
            raise PipelineError("wrong_input", f"pipeline {pipeline.id}: {lacking}")
        kept = context if pipeline.options.preserve_context else None
        return Run(pipeline, inputs, wishes or Wishes(), self._facilities, kept)

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._facilities.worker.close()
        self._facilities.vision.close()


class Run:
    """One run, as a context: when it is left, all that the run does has ended."""

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Mapping[Medium, AsyncIterator[Item]],
        wishes: Wishes,
        facilities: Facilities,
        context: Context | None,
    ) -> None:
        self.pipeline = pipeline
        self.failed: str | None = None
        """Id of the stage that failed."""
        self._inputs = dict(inputs)
        self._wishes = wishes
        self._clock = facilities.clock
        fed = pipeline.graph.fed(tuple(inputs))
        stages = [stage for stage in pipeline.order if stage.id in fed]
        self._records = {stage.id: StageRecord(stage.id, stage.type) for stage in stages}
        self._ended = {stage.id: asyncio.Event() for stage in stages}
        self._turns = _turns(pipeline, stages)
        self._works = {
            stage.id: Work(
                pipeline=pipeline,
                stage=stage,
                inbox=self._inbox(stage),
                record=self._records[stage.id],
                facilities=facilities,
                context=context,
            )
            for stage in stages
        }
        self._events: Pipe[RunEvent] = Pipe(lambda event: size_of(event.item) if isinstance(event, StageOutput) else 0)
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._error: PipelineError | None = None
        self._began = 0.0
        self._in_time = asyncio.Event()

    @property
    def records(self) -> Mapping[str, StageRecord]:
        """What happened so far, by stage id, in the order of the stages."""
        return self._records

    @property
    def streams(self) -> bool:
        """Whether stages give piece by piece."""
        return self.pipeline.options.enable_streaming

    async def __aenter__(self) -> Run:
        self._began = self._clock.now()
        await self._group.__aenter__()
        for medium, items in self._inputs.items():
            self._spawn(self._feed(medium, items), f"input {medium}")
        stages = [self._spawn(self._run(work), f"stage {name}") for name, work in self._works.items()]
        if self._wishes.max_latency_ms is not None:
            self._spawn(self._watch(self._wishes.max_latency_ms), "deadline")
        self._finishing = self._group.create_task(self._finish(stages), name="end of run")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        await self._group.__aexit__(None, None, None)
        for items in self._inputs.values():  # of a task that was ended before it began
            await _closed(items)

    def cancel(self) -> None:
        """End all stages soon; leaving the context waits for it. Idempotent."""
        self._events.abandon()
        self._stop()

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """What happens, in that order; for one reader. Whoever does not read on holds the stages back, and whoever
        closes it ends them.

        Raises the :class:`PipelineError` of the stage that failed, or ``latency_exceeded``, after all else.
        """
        try:
            async for event in self._events:
                yield event
        finally:
            self.cancel()
        if self._error is not None:
            raise self._error

    # ---- tasks

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._group.create_task(work, name=name)
        self._tasks.append(task)
        return task

    async def _feed(self, medium: Medium, items: AsyncIterator[Item]) -> None:
        """Hand one input on to the stages that take it."""
        source = input_of(medium)
        takers = [work.inbox for work in self._works.values() if source in work.inbox.sources]
        try:
            async for item in items:
                for inbox in takers:
                    await inbox.send(source, item)
                if all(inbox.pipe.abandoned for inbox in takers):
                    break
        except PipelineError as error:
            self._fail(error)
        except Exception as error:
            log.exception("the input failed")
            self._fail(PipelineError("input_failed", f"{medium}: reading the input failed ({type(error).__name__})"))
        finally:
            await _closed(items)
        for inbox in takers:
            inbox.end(source)

    async def _run(self, work: Work) -> None:
        """One stage, from its turn to its end."""
        stage, record, inbox = work.stage.id, work.record, work.inbox
        wishes_of_task.set(self._wishes)
        record_of_task.set(record)
        try:
            await self._turn(work)
            await (inbox.begun() if self.streams else inbox.complete())
            inbox.pipe.release()
            record.started = self._now
            await self._events.send(StageStarted(stage))
            with foreign_errors(PipelineError, "stage_failed", f"stage {stage}"):
                async with aclosing(self._flow(work)) as items:
                    async for item in items:
                        await self._give(work, item)
        except PipelineError as error:
            record.error = str(error)
            self.failed = self.failed or stage
            self._fail(error)
        except asyncio.CancelledError:
            record.error = CANCELLED
            raise
        finally:
            self._end(work)

    async def _turn(self, work: Work) -> None:
        """Wait until those have ended that are to end before, or until so much waits that it cannot be kept."""
        others = [self._ended[other].wait() for other in self._turns[work.stage.id]]
        if not others:
            return
        ended = asyncio.ensure_future(asyncio.gather(*others))
        full = asyncio.ensure_future(work.inbox.pipe.full.wait())
        try:
            await asyncio.wait((ended, full), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            full.cancel()

    def _flow(self, work: Work) -> Flow:
        flow = RUNS[work.stage.type](work)
        return flow if self.streams else whole(flow)

    async def _give(self, work: Work, item: Item) -> None:
        """Tell of one item of a stage's output, and hand it on."""
        stage, record = work.stage.id, work.record
        takers = self.pipeline.graph.consumers(stage)
        if not isinstance(item, Partial):
            if record.first_output is None:
                record.first_output = self._now
            if not takers and self.streams:
                self._in_time.set()
        await self._events.send(StageOutput(stage, item))
        for taker in takers:
            await self._works[taker.id].inbox.send(stage, item)

    def _end(self, work: Work) -> None:
        stage = work.stage.id
        work.record.ended = self._now
        work.inbox.pipe.abandon()
        self._ended[stage].set()
        self._events.put(StageEnded(stage, work.record))
        if not work.record.error:  # what is cut short must not look like a whole to those behind it
            for taker in self.pipeline.graph.consumers(stage):
                self._works[taker.id].inbox.end(stage)

    async def _watch(self, limit: float) -> None:
        """The deadline of the run, in milliseconds: to the first output when that is streamed, else to the end."""
        late = asyncio.ensure_future(self._clock.sleep(self._began + limit / 1000 - self._clock.now()))
        there = asyncio.ensure_future(self._in_time.wait())
        try:
            await asyncio.wait((late, there), return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            there.cancel()
        if not self._in_time.is_set():
            what = "nothing of the output was there" if self.streams else "the output was not complete"
            self._fail(PipelineError("latency_exceeded", f"{what} after {limit:.0f} ms: {self._progress()}"))

    def _progress(self) -> str:
        """How far the run has come, for people."""
        told = []
        for stage, record in self._records.items():
            state = "was waiting" if record.started is None else "had begun"
            state = "had given something" if record.first_output is not None else state
            told.append(f"{stage} {'had ended' if record.ended is not None else state}")
        return ", ".join(told)

    async def _finish(self, stages: Sequence[asyncio.Task[None]]) -> None:
        """End what is left when all stages have ended."""
        await asyncio.wait(stages)
        self._in_time.set()
        self._stop()
        self._events.close()

    def _fail(self, error: PipelineError) -> None:
        if self._error is None:
            self._error = error
        self._stop()

    def _stop(self) -> None:
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    # ---- wiring

    @property
    def _now(self) -> float:
        return self._clock.now() - self._began

    def _inbox(self, stage: Stage) -> Inbox:
        """With its sources: the fed stages that it takes, and each medium of the input that it can use."""
        sources: dict[str, Medium] = {}
        for source in self.pipeline.graph.sources[stage.id]:
            if source == INPUT:
                taken = STAGE_TYPES[stage.type].all_taken
                sources |= {input_of(medium): medium for medium in self._inputs if medium in taken}
            elif source in self._records:
                kind = next(other.type for other in self.pipeline.stages if other.id == source)
                sources[source] = STAGE_TYPES[kind].gives
        if Sound in ACCEPTS[stage.type]:
            sounding = [source for source, medium in sources.items() if medium in ("audio", "video")]
            if len(sounding) > 1:
                raise PipelineError("wrong_input", f"stage {stage.id}: takes one sound, not {' and '.join(sounding)}")
        holds: Holds = "all" if not self.streams else "turn" if self._turns[stage.id] else "nothing"
        return Inbox(sources, ACCEPTS[stage.type], holds=holds)


async def _closed(items: AsyncIterator[Item]) -> None:
    if isinstance(items, AsyncGenerator):
        with only_logged("closing an input"):
            await items.aclose()


def _turns(pipeline: Pipeline, stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """For each stage those that have to end before it begins."""
    if pipeline.options.parallel_stages:
        return {stage.id: () for stage in stages}
    above: dict[str, set[str]] = {}
    for stage in stages:  # each after its sources
        sources = {source for source in pipeline.graph.sources[stage.id] if source != INPUT}
        above[stage.id] = sources.union(*(above.get(source, set()) for source in sources))
    return {
        stage.id: tuple(other.id for other in stages[:place] if other.id not in above[stage.id])
        for place, stage in enumerate(stages)
    }
