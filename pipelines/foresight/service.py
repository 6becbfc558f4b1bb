"""Predictions on what is here now: who describes, who films."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from pipelines.errors import EngineBusyError
from pipelines.foresight.describing import Describer, Describers
from pipelines.foresight.executor import Emit, Makers, foresee
from pipelines.foresight.filming import Filmer, MotionFilmer, PushInFilmer, Scene
from pipelines.foresight.quality import Quality
from pipelines.interfaces.llm import LanguageModel
from pipelines.interfaces.task import Tasks
from pipelines.runtime.worker import Worker

INBOX = 64
"""Videos that wait for their turn: one is made at a time, for it takes all that the processor has."""


SETTLE_SECONDS = 2.0


def _no_model() -> LanguageModel | None:
    return None


def _no_tasks() -> Tasks | None:
    return None


@dataclass(frozen=True, slots=True)
class Generator:
    """A model that makes videos up, where the operator has chosen one."""

    filmer: Filmer
    describer: Describer | None = None
    """Who describes for it, where it needs to know what that one sees."""
    workers: tuple[Worker, ...] = ()
    """Their threads, which end with the predictions."""
    elsewhere: bool = False
    """Whether it is another machine's: then what moves goes on where it cannot be had."""


class Foresight:
    """What all predictions share. ``chat`` and ``tasks`` are asked each time: models come and go."""

    def __init__(
        self,
        chat: Callable[[], LanguageModel | None] = _no_model,
        tasks: Callable[[], Tasks | None] = _no_tasks,
        generator: Generator | None = None,
    ) -> None:
        self._films = Worker("foresight-films", inbox=INBOX)
        self._brief = Worker("foresight", inbox=INBOX)
        self._describers = Describers(chat, tasks, self._brief)
        self._generator = generator
        self._motion, self._push_in = MotionFilmer(self._films), PushInFilmer(self._films)

    def makers(self, scene: Scene) -> Makers:
        """Who makes a prediction of ``scene``."""
        plain = self._push_in if scene.earlier is None else self._motion
        if (generator := self._generator) is not None:
            otherwise = plain if generator.elsewhere else None
            return Makers(generator.describer or self._describers.best(), generator.filmer, self._brief, otherwise)
        return Makers(self._describers.best(), plain, self._brief)

    async def foresee(self, scene: Scene, quality: Quality, emit: Emit) -> None:
        """See :func:`~pipelines.foresight.executor.foresee`."""
        if self._generator is not None and self._generator.describer is not None:
            scene = replace(scene, states=asyncio.get_running_loop().create_future())
        await foresee(scene, quality, self.makers(scene), emit)

    async def settle(self) -> None:
        """Wait, a moment at most, until no video is being made: a process that ends in the midst of OpenCV aborts."""
        with suppress(TimeoutError, EngineBusyError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._films.run(lambda: None)

    def close(self) -> None:
        """End all threads. Idempotent."""
        self._films.close()
        self._brief.close()
        for worker in self._generator.workers if self._generator is not None else ():
            worker.close()
