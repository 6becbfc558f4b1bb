"""The voice for a client that plays it itself: sent as fast as it is made, taken to be heard in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from media.channel import Channel
from media.frames import AudioChunk
from pipelines.assistant.session import AssistantSession, FirstSettings
from pipelines.voice.history import Item
from pipelines.voice.responses import Wish
from server.transports.websocket.voice import BUFFER_SECONDS, Playback, SocketVoice
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.memory_transport import ArrayConverter, settle

RATE = 24_000


class Client:
    """Takes the voice; :attr:`open` closed: its socket is full."""

    def __init__(self) -> None:
        self.clock = FakeClock(50.0)
        self.voice = SocketVoice(self.clock)
        self.rate = RATE
        self.heard: list[np.ndarray] = []
        self.rates: list[int] = []
        self.ended = 0
        self.open = asyncio.Event()
        self.open.set()

    def sound_rate(self) -> int:
        return self.rate

    def sound(self, samples: np.ndarray, rate: int) -> None:
        self.heard.append(samples)
        self.rates.append(rate)

    def sound_ended(self) -> None:
        self.ended += 1

    async def room(self) -> None:
        await self.open.wait()

    @property
    def seconds(self) -> float:
        return sum(len(samples) / rate for samples, rate in zip(self.heard, self.rates, strict=True))


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    made = Client()
    task = asyncio.create_task(made.voice.run(made, made.room))
    yield made
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def speech(seconds: float, rate: int = 16_000) -> np.ndarray:
    return (8000 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 300 / rate)).astype(np.int16)


def test_what_is_sent_is_heard_in_real_time_and_not_before_it_is_sent():
    playback = Playback()
    assert playback.heard(5.0) == 0.0
    playback.send(2.0, 10.0)
    assert playback.heard(10.5) == pytest.approx(0.5)
    playback.send(1.0, 11.0)
    assert (playback.heard(12.5), playback.left(12.5)) == pytest.approx((2.5, 0.5))
    assert playback.heard(99.0) == 3.0
    playback.send(1.0, 99.0)  # the client had nothing to play meanwhile
    assert playback.heard(99.25) == pytest.approx(3.25)


async def test_a_response_is_sent_at_once_and_lasts_until_it_must_have_been_heard():
    async with client() as there:
        playout = there.voice.prepare()
        await playout.write(speech(3.0), 16_000)
        await settle()
        assert not there.heard, "nothing sounds before play()"
        there.voice.play(playout)
        await settle()
        assert playout.started.is_set()
        assert there.ended == 0
        playout.finish()
        await settle()
        assert there.seconds == pytest.approx(3.0, abs=0.001)
        assert there.ended == 1
        there.clock.advance(1.25)
        assert playout.heard_seconds == pytest.approx(1.25)
        await settle()
        assert not playout.ended.is_set()
        there.clock.advance(1.8)
        await settle()
        assert playout.ended.is_set()
        assert playout.heard_seconds == pytest.approx(3.0)


async def test_nothing_of_a_flushed_response_is_sent_any_more():
    async with client() as there:
        playout = there.voice.prepare()
        there.voice.play(playout)
        await playout.write(speech(1.0), 16_000)
        await settle()
        there.open.clear()
        await playout.write(speech(1.0), 16_000)
        await settle()
        there.clock.advance(0.5)
        assert playout.flush() == pytest.approx(0.5)
        there.open.set()
        await playout.write(speech(1.0), 16_000)
        await settle()
        assert there.seconds == pytest.approx(1.0, abs=0.01)
        assert playout.ended.is_set()
        assert there.ended == 0, "it was not told that all of it has come"
        there.clock.advance(10.0)
        assert playout.flush() == pytest.approx(1.0)


async def test_a_client_that_takes_nothing_holds_up_the_writer_and_nobody_else():
    async with client() as there:
        there.open.clear()
        playout = there.voice.prepare()
        there.voice.play(playout)
        await playout.write(speech(BUFFER_SECONDS), 16_000)
        writing = asyncio.create_task(playout.write(speech(1.0), 16_000))
        await settle()
        assert not writing.done()
        there.open.set()
        await writing


async def test_another_response_does_not_wait_for_one_that_the_client_has_whole():
    async with client() as there:
        one = there.voice.prepare()
        there.voice.play(one)
        await one.write(speech(2.0), 16_000)
        other = there.voice.prepare()
        assert not one.ended.is_set(), "more of it may come"
        one.finish()
        await settle()
        other = there.voice.prepare()
        assert one.ended.is_set()
        there.voice.play(other)
        await other.write(speech(1.0), 16_000)
        await settle()
        assert there.seconds == pytest.approx(3.0, abs=0.01)
        there.clock.advance(0.5)
        assert other.heard_seconds == 0.0, "the client still plays what it was sent before"
        there.clock.advance(2.0)
        assert other.heard_seconds == pytest.approx(0.5)


async def test_another_response_is_heard_at_once_behind_one_that_the_client_has_silenced():
    async with client() as there:
        one = there.voice.prepare()
        there.voice.play(one)
        await one.write(speech(2.0), 16_000)
        one.finish()
        await settle()
        one.flush()
        other = there.voice.prepare()
        there.voice.play(other)
        await other.write(speech(1.0), 16_000)
        await settle()
        there.clock.advance(0.5)
        assert other.heard_seconds == pytest.approx(0.5)


async def test_a_change_of_rate_holds_from_the_next_response_on():
    async with client() as there:
        one = there.voice.prepare()
        there.voice.play(one)
        await one.write(speech(0.5), 16_000)
        await settle()
        there.rate = 8_000
        await one.write(speech(0.5), 16_000)
        one.finish()
        await settle()
        assert set(there.rates) == {RATE}
        other = there.voice.prepare()
        there.voice.play(other)
        await other.write(speech(0.5), 16_000)
        await settle()
        assert there.rates[-1] == 8_000


async def test_who_speaks_into_what_the_client_plays_cuts_it_off_where_it_must_have_been_heard():
    words = "one two three four five six seven eight nine ten."
    engines = fake_engines(stt=FakeRecognizer("stop now please"), llm=FakeModel(words))
    async with client() as there:
        session = AssistantSession(engines, there.clock, there.voice, ArrayConverter, FirstSettings())
        microphone: Channel[AudioChunk] = Channel(100)
        running = asyncio.create_task(session.run(microphone))
        await session.running.wait()
        conversation = session.conversation
        conversation.add(Item("question", "user", "Count, please."))
        conversation.respond(Wish())
        await settle(300)
        assert there.seconds == pytest.approx(2.5, abs=0.01)
        answer = conversation.history.items[-1]
        assert isinstance(answer, Item)
        assert answer.text == words, "all of it is there, and counts until something else is known"
        there.clock.advance(1.3)
        for n in range(10):
            microphone.put(AudioChunk(np.full(1_600, 3000, np.int16), 16_000, n / 10))
            await settle()
        assert (answer.text, answer.interrupted) == ("one two three four five", True)
        assert conversation.responses.truncate(answer.id, 0.6)
        assert answer.text == "one two", "its client knows better"
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await engines.close()
