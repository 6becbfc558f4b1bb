"""How a video is made on this machine's processor: by what moves, or by coming closer where nothing tells what."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from media.frames import Pixels
from pipelines.foresight.events import Method
from pipelines.foresight.motion import extrapolated, movement
from pipelines.foresight.quality import Grain, Plan
from pipelines.runtime.worker import Worker

NICE = 5
"""Of threads that make videos, 0–19. They run Python: where others leave no time, one of 15 was put off for 0.7 s while
it held the interpreter's lock, and everybody's sound with it."""
AHEAD = 4
"""Frames that are made before the first of them is taken."""
CLOSER = 1.18
"""How much larger the middle of a single picture is in the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a prediction is made of."""

    picture: Pixels
    earlier: Pixels | None = None
    """What was to be seen a moment before, in the same size."""
    earlier_seconds: float = 0.0
    """How long before."""
    prompt: str = ""
    """What its asker says about it."""
    states: asyncio.Future[Any] | None = None
    """Where whoever describes the picture leaves what it sees in it, for a generator that can use that."""


@dataclass(frozen=True, slots=True, eq=False)
class Filmed:
    """The next frame."""

    pixels: Pixels
    confidence: float | None
    """``None`` where the method cannot tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Guessed:
    """What a frame is going to be like."""

    index: int
    pixels: Pixels
    step: int
    steps: int


class Filmer(Protocol):
    """Makes videos."""

    @property
    def method(self) -> Method:
        """How."""
        ...

    @property
    def model(self) -> str:
        """Its name, where it is one."""
        ...

    @property
    def grain(self) -> Grain:
        """What sizes it can make."""
        ...

    def film(self, scene: Scene, first: Pixels, plan: Plan) -> AsyncGenerator[Filmed | Guessed, None]:
        """The frames that follow ``first``, which is the picture in the size of ``plan``; their guesses before them.

        Closing it ends the work soon. Raises :class:`~pipelines.errors.PipelineError`.
        """
        ...


def fitted(pixels: Pixels, plan: Plan) -> Pixels:
    """The picture in the size of the video."""
    if pixels.shape[:2] == (plan.height, plan.width):
        return np.ascontiguousarray(pixels)
    how = cv2.INTER_AREA if pixels.shape[0] > plan.height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (plan.width, plan.height), interpolation=how), np.uint8)


def give_way() -> None:
    """Have the system prefer other threads to this one: those who speak, listen and write words. Linux has a priority
    for each thread, and those that it begins, as OpenCV's, have the same."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class MotionFilmer:
    """What moves goes on (:mod:`pipelines.foresight.motion`)."""

    method: Method = "motion-extrapolation"
    model = ""
    grain = Grain()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def film(self, scene: Scene, first: Pixels, plan: Plan) -> AsyncGenerator[Filmed | Guessed, None]:
        """See :class:`Filmer`."""
        assert scene.earlier is not None, "one picture shows no movement"
        earlier, seconds = scene.earlier, scene.earlier_seconds

        def produce(stop: threading.Event) -> Iterator[Filmed]:
            give_way()
            moving = movement(fitted(earlier, plan), first, seconds)
            for pixels, confidence in extrapolated(first, moving, plan.fps, plan.frames - 1):
                if stop.is_set():
                    return
                yield Filmed(pixels, confidence)

        async with aclosing(self._worker.stream(produce, ahead=AHEAD)) as frames:
            async for frame in frames:
                yield frame


class PushInFilmer:
    """The camera comes closer (:func:`pushed_in`)."""

    method: Method = "push-in"
    model = ""
    grain = Grain()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def film(self, scene: Scene, first: Pixels, plan: Plan) -> AsyncGenerator[Filmed | Guessed, None]:
        """See :class:`Filmer`."""

        def produce(stop: threading.Event) -> Iterator[Filmed]:
            give_way()
            for pixels in pushed_in(first, plan.frames - 1):
                if stop.is_set():
                    return
                yield Filmed(pixels, 0.0)

        async with aclosing(self._worker.stream(produce, ahead=AHEAD)) as frames:
            async for frame in frames:
                yield frame


def pushed_in(picture: Pixels, frames: int) -> Iterator[Pixels]:
    """The ``frames`` after ``picture``, in which nothing tells what moves: it slowly comes closer, with a gentle begin
    and end. Pure."""
    height, width = picture.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    for n in range(1, frames + 1):
        way = n / frames
        scale = CLOSER ** (way * way * (3 - 2 * way))
        turn = cv2.getRotationMatrix2D(middle, 0.0, scale)
        near = cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        yield np.asarray(near, np.uint8)
