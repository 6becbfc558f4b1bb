"""The predictions of one session: what is shown of them, and when that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from media.frames import Picture
from pipelines.assistant.foreseeing import HOLD_SECONDS, Foreseeing
from pipelines.foresight.events import By, Event, Frame, Started, TextChunk, TextDone, VideoDone
from pipelines.foresight.filming import Scene
from pipelines.foresight.quality import FPS, plan_for
from tests.fakes.clock import FakeClock

FRAMES = 30
PIXELS = np.zeros((8, 8, 3), np.uint8)


class Predictor:
    """Says a word and makes a film at once, then waits for what it is told to."""

    def __init__(self) -> None:
        self.words_end = True
        self.made = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = False

    async def foresee(self, scene: Scene, quality: Any, take: Any) -> None:
        events: list[Event] = [Started(plan_for("low", 8, 8), By("push-in")), TextChunk("A ball falls. ")]
        events += [Frame(n, FRAMES, n / FPS, PIXELS, 0.5) for n in range(FRAMES)]
        events += [TextDone()] if self.words_end else []
        for event in events:
            await take(event)
        self.made.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await take(VideoDone(FRAMES, FRAMES / FPS))


class Call:
    def __init__(self) -> None:
        self.clock, self.predictor = FakeClock(5.0), Predictor()
        self.times = iter(range(1000))
        predictor: Any = self.predictor
        self.foreseeing = Foreseeing(predictor, self.clock, self._newest, self._picture)
        self.running = asyncio.create_task(self.foreseeing.run())

    def _newest(self) -> av.VideoFrame:
        frame = av.VideoFrame(8, 8, "yuv420p")
        frame.pts, frame.time_base = next(self.times), Fraction(1, 10)
        return frame

    async def _picture(self, frame: Any) -> Picture:
        return Picture(PIXELS, frame.time)

    async def asks(self) -> asyncio.Task[list[str]]:
        """Ask, and go on when the film has been made: what listens to the words."""

        async def listen() -> list[str]:
            return [text async for text in self.foreseeing.foresee("what happens next")]

        listening = asyncio.create_task(listen())
        sleeping = asyncio.create_task(self.clock.sleeper())
        await sleeping
        self.clock.advance(0.01)
        await self.predictor.made.wait()
        return listening


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    yield call
    call.running.cancel()
    await asyncio.gather(call.running, return_exceptions=True)


async def test_the_film_plays_to_its_end_if_nobody_interrupts(call: Call) -> None:
    assert await (await call.asks()) == ["A ball falls. "]
    call.predictor.go_on.set()
    await asyncio.sleep(0)
    assert call.foreseeing.shown() is not None
    call.clock.advance(FRAMES / FPS + HOLD_SECONDS / 2)
    assert call.foreseeing.shown() is not None
    call.clock.advance(HOLD_SECONDS)
    assert call.foreseeing.shown() is None


@pytest.mark.parametrize("made", [False, True], ids=["while it is made", "when it plays"])
async def test_ended_when_all_words_were_given_the_camera_is_back_at_once(call: Call, made: bool) -> None:
    await (await call.asks())
    if made:
        call.predictor.go_on.set()
        await asyncio.sleep(0)
    assert call.foreseeing.shown() is not None
    call.foreseeing.end()
    assert call.foreseeing.shown() is None
    for _ in range(5):
        await asyncio.sleep(0)
    assert call.predictor.cancelled is not made
    assert call.foreseeing.shown() is None


async def test_who_leaves_the_words_ends_the_film(call: Call) -> None:
    call.predictor.words_end = False
    listening = await call.asks()
    assert call.foreseeing.shown() is not None
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert call.foreseeing.shown() is None


async def test_another_question_ends_the_film_of_the_one_before(call: Call) -> None:
    await (await call.asks())
    call.predictor.made.clear()
    call.foreseeing._newest = lambda: None  # there is nothing to see now
    words = [text async for text in call.foreseeing.foresee("and next")]
    assert call.predictor.cancelled
    assert call.foreseeing.shown() is None
    assert len(words) == 1
