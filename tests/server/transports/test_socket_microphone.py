"""Sound that comes in messages: even chunks on a timeline of their own, in order with what else is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from media.frames import AudioChunk
from server.transports.websocket.microphone import FULL_MESSAGES, FULL_SECONDS, Microphone
from tests.fakes.clock import FakeClock
from tests.fakes.memory_transport import settle


class Line:
    """A microphone, and a session that hears it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.is_behind = False
        self.microphone = Microphone(self.clock, lambda: self.is_behind)
        self.heard: list[AudioChunk] = []

    @property
    def seconds(self) -> float:
        return sum(chunk.seconds for chunk in self.heard)

    def around(self, action: Callable[[], object]) -> Callable[[], None]:
        def guarded() -> None:
            action()

        return guarded

    async def listen(self) -> None:
        async for chunk in self.microphone.chunks:
            self.heard.append(chunk)


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    made = Line()
    tasks = [
        asyncio.create_task(made.microphone.run(lambda action: lambda: (action(), None)[1])),
        asyncio.create_task(made.listen()),
    ]
    yield made
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def noise(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-3000, 3000, round(seconds * rate), np.int16)


@pytest.mark.parametrize("rate", [24_000, 8_000])
async def test_sound_of_any_length_becomes_even_chunks_without_a_gap(rate: int):
    async with line() as there:
        for seconds in (0.0, 0.001, 2.0, 0.02):
            there.microphone.hear(noise(seconds, rate), rate)
        await settle(200)
        assert there.seconds == pytest.approx(2.021, abs=0.005)
        assert {chunk.rate for chunk in there.heard} == {16_000}
        assert max(chunk.seconds for chunk in there.heard) < 0.11
        for before, after in zip(there.heard, there.heard[1:], strict=False):
            assert after.time == pytest.approx(before.end)
        assert not there.clock.waits, "sound that comes at once is not stretched to its length"


async def test_what_is_asked_for_after_sound_is_done_after_it():
    async with line() as there:
        done: list[float] = []
        there.microphone.then(lambda: done.append(there.seconds))
        assert done == [0.0], "nothing waits: at once"
        there.microphone.hear(noise(1.0, 24_000), 24_000)
        there.microphone.then(lambda: done.append(there.seconds))
        there.microphone.hear(noise(1.0, 24_000), 24_000)
        assert len(done) == 1
        await settle(200)
        assert done[1] == pytest.approx(1.0, abs=0.005)


async def test_sound_in_parts_keeps_its_place_and_is_made_when_it_is_due():
    async with line() as there:
        made: list[float] = []

        def parts() -> Iterator[np.ndarray]:
            for _ in range(4):
                made.append(there.seconds)
                yield np.full(12_000, 1000, np.int16)

        there.microphone.hear_parts(parts(), 2.0, 24_000)
        there.microphone.hear(np.full(12_000, -1000, np.int16), 24_000)
        assert not made
        await settle(300)
        assert there.seconds == pytest.approx(2.5, abs=0.005)
        assert made == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.005)
        assert there.heard[-1].samples[-1] < 0 < there.heard[-7].samples[-1]
        await there.microphone.room()


async def test_a_session_that_has_turns_to_write_down_is_waited_for():
    async with line() as there:
        there.is_behind = True
        there.microphone.hear(noise(1.0, 24_000), 24_000)
        await settle()
        assert not there.heard
        there.is_behind = False
        there.clock.advance(1.0)
        await settle(200)
        assert there.seconds == pytest.approx(1.0, abs=0.005)


async def test_no_more_is_read_while_too_much_waits():
    async with line() as there:
        await there.microphone.room()
        there.is_behind = True
        there.microphone.hear(noise(FULL_SECONDS, 8_000), 8_000)
        reading = asyncio.create_task(there.microphone.room())
        await settle()
        assert not reading.done()
        there.is_behind = False
        there.clock.advance(1.0)
        await reading

        there.is_behind = True
        for _ in range(FULL_MESSAGES):
            there.microphone.hear(noise(0.001, 8_000), 8_000)
        reading = asyncio.create_task(there.microphone.room())
        await settle()
        assert not reading.done()
        there.is_behind = False
        there.clock.advance(1.0)
        await reading
