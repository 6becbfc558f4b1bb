"""One prediction at work: text and video side by side, each with its own end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from media.frames import Pixels
from pipelines.errors import PipelineError
from pipelines.foresight.describing import Describer
from pipelines.foresight.events import By, Event
from pipelines.foresight.filming import Filmed, Filmer, Guessed, Scene, fitted
from pipelines.foresight.progress import Progress
from pipelines.foresight.quality import Plan, Quality, plan_for
from pipelines.runtime.worker import Worker

log = logging.getLogger(__name__)

NO_ROOM = frozenset(("out_of_memory", "does_not_fit"))
"""Codes after which the video is tried once more, smaller."""
LONGEST_TEXT = 4_000
"""Characters."""

Emit = Callable[[Event], Awaitable[None]]
"""Is given every event in order; a frame or a preview only when the one before has been taken."""


@dataclass(frozen=True, slots=True)
class Makers:
    """Who makes a prediction."""

    describer: Describer
    filmer: Filmer
    worker: Worker
    """For what is brief: the first frame is made here, not behind the videos of others."""
    otherwise: Filmer | None = None
    """Who makes the video, from its first frame on, where ``filmer`` fails: one of this machine for one of another."""


async def foresee(scene: Scene, quality: Quality, makers: Makers, emit: Emit) -> None:
    """Tell ``emit`` all events of a prediction, the last of which is ``Completed``. Cancelling it ends all work.

    What fails is told in events; only what ``emit`` raises is raised.
    """
    await _Prediction(scene, quality, makers, emit).run()


class _Prediction:
    def __init__(self, scene: Scene, quality: Quality, makers: Makers, emit: Emit) -> None:
        height, width = scene.picture.shape[:2]
        filmer = makers.filmer
        plan = plan_for(quality, width, height, filmer.grain)
        self._scene = scene
        self._makers = makers
        self._filmer = filmer
        self._emit = emit
        self._progress = Progress(plan, By(filmer.method, filmer.model, makers.describer.name))

    async def run(self) -> None:
        first = await self._first(self._progress.plan)
        await self._tell(self._progress.start(first))
        halves = [asyncio.create_task(self._text(), name="text"), asyncio.create_task(self._video(first), name="video")]
        try:
            await asyncio.gather(*halves)
            await self._tell(self._progress.complete())
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    async def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            await self._emit(event)

    async def _first(self, plan: Plan) -> Pixels:
        return await self._makers.worker.run(fitted, self._scene.picture, plan)

    # ------------------------------------------------------------------------------------------------ text

    async def _text(self) -> None:
        said, problem = 0, ("", "")
        try:
            async with aclosing(self._makers.describer.describe(self._scene)) as pieces:
                async for piece in pieces:
                    await self._tell(self._progress.words(piece[: LONGEST_TEXT - said]))
                    said += len(piece)
                    if said >= LONGEST_TEXT:
                        break
        except PipelineError as error:
            problem = error.code, error.message
        except Exception as error:  # the barrier: the video goes on
            log.exception("a picture could not be described")
            problem = "text_failed", f"the picture could not be described: {type(error).__name__}"
        finally:
            if (states := self._scene.states) is not None and not states.done():
                states.cancel()  # a generator waits for nothing that will not come
        await self._tell(self._progress.text_ended(*problem))

    # ------------------------------------------------------------------------------------------------ video

    async def _video(self, first: Pixels) -> None:
        plan = self._progress.plan
        again = True
        while True:
            try:
                async with aclosing(self._filmer.film(self._scene, first, plan)) as frames:
                    await self._take(frames)
                await self._tell(self._progress.video_ended())
            except PipelineError as error:
                smaller = self._smaller(plan) if error.code in NO_ROOM and again else None
                smaller, again = smaller or self._otherwise(plan), False
                if smaller is None:
                    await self._tell(self._progress.video_failed(error.code, error.message))
                    return
                plan, first = smaller, await self._first(smaller)
                await self._tell(self._progress.start_over(plan, first, error.message))
            except Exception as error:  # the barrier: the text goes on
                log.exception("a video could not be made")
                failed = f"the video could not be made: {type(error).__name__}"
                await self._tell(self._progress.video_failed("video_failed", failed))
                return
            else:
                return

    def _smaller(self, plan: Plan) -> Plan | None:
        lower = plan.smaller
        height, width = self._scene.picture.shape[:2]
        return None if lower is None else plan_for(lower.quality, width, height, self._filmer.grain)

    def _otherwise(self, plan: Plan) -> Plan | None:
        """What the other one makes; ``None`` where there is none, or it has been asked."""
        other = self._makers.otherwise
        if other is None or self._filmer is other:
            return None
        self._filmer = other
        height, width = self._scene.picture.shape[:2]
        return plan_for(plan.quality, width, height, other.grain)

    async def _take(self, frames: AsyncGenerator[Filmed | Guessed, None]) -> None:
        async for made in frames:
            if isinstance(made, Filmed):
                await self._tell(self._progress.frame(made.pixels, made.confidence))
            else:
                await self._tell(self._progress.preview(made.index, made.pixels, made.step, made.steps))
