"""A recogniser that fails hands the utterance on: nothing that was heard is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from pipelines.errors import STTError
from pipelines.interfaces.stt import Hearing, Transcript, can_hear, hearing, streams_partials
from pipelines.routing.routes.speech import KEPT_SECONDS, FallbackRecognizer
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeRecognizer, crashed
from tests.fakes.failures import Failures


def named(engine: Any, name: str) -> Any:
    engine.name = name
    return engine


def audio(seconds: float, level: int = 1) -> np.ndarray:
    return np.full(round(seconds * 16_000), level, np.int16)


class CrashesAfter(FakeRecognizer):
    """Its utterances crash once they are ``seconds`` long, or when their transcript is wanted."""

    name = "fragile"

    def __init__(self, seconds: float, at_the_end: bool = False) -> None:
        super().__init__()
        self.seconds = seconds
        self.at_the_end = at_the_end

    async def open(self) -> Any:
        inner, engine = await super().open(), self

        class Recognition:
            heard = 0

            async def feed(self, samples: np.ndarray) -> str:
                self.heard += len(samples)
                if self.heard >= engine.seconds * 16_000:
                    raise crashed()
                return "wrong"

            async def transcript(self) -> Any:
                raise crashed()

            async def close(self) -> None:
                await inner.close()
                raise crashed()

        return Recognition()


class RaisesAt(FakeRecognizer):
    """Raises what no contract allows, at one step and whenever it is closed."""

    name = "foreign"

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step

    async def open(self) -> Any:
        self.at("open")
        return self

    async def feed(self, samples: np.ndarray) -> str:
        self.at("feed")
        return ""

    async def transcript(self) -> Any:
        self.at("transcript")

    async def close(self) -> None:
        raise BrokenPipeError

    def at(self, step: str) -> None:
        if step == self.step:
            raise RuntimeError("the handler is closed")


async def test_words_before_a_crash_are_not_lost():
    failures = Failures()
    fragile, sound = CrashesAfter(0.5), FakeRecognizer("one two three four five")
    engine = FallbackRecognizer([fragile, sound], failures, FakeClock())
    recognition = await engine.open()
    assert await recognition.feed(audio(0.4, 1)) == "wrong"
    assert await recognition.feed(audio(0.2, 2)) == "one two three"
    assert await recognition.feed(audio(0.2, 3)) == "one two three four"
    assert (await recognition.transcript()).text == "one two three four five"
    assert np.array_equal(sound.heard[0], np.concatenate([audio(0.4, 1), audio(0.2, 2), audio(0.2, 3)]))
    assert failures == [("fragile", "stt_crashed")] * 2  # it was given a second chance
    await recognition.close()
    await recognition.close()
    assert (fragile.closed, sound.closed) == (2, 1)


async def test_an_engine_that_lost_a_process_hears_the_utterance_again():
    failures, spare = Failures(), FakeRecognizer("never asked")
    engine = named(FakeRecognizer(crashed(), "one two three"), "embedded")
    ladder = FallbackRecognizer([engine, spare], failures, FakeClock())
    recognition = await ladder.open()
    await recognition.feed(audio(0.3))
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "one two three"
    await recognition.close()
    assert (failures, ladder.current, spare.opened) == ([("embedded", "stt_crashed")], "embedded", 0)


@pytest.mark.parametrize("code", ["stt_busy", "stt_closed", "engine_stuck"])
async def test_an_engine_that_will_not_be_better_at_once_is_not_asked_again(code):
    engine, spare = FakeRecognizer(*[STTError(code, "no")] * 2), FakeRecognizer("hello")
    recognition = await FallbackRecognizer([engine, spare], Failures(), FakeClock()).open()
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hello"
    assert engine.opened == 1


async def test_a_crash_at_the_transcript_is_made_up_for():
    sound = FakeRecognizer("hello")
    recognition = await FallbackRecognizer([CrashesAfter(9), sound], Failures(), FakeClock()).open()
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hello"
    assert len(sound.heard[0]) == 4800


async def test_the_failed_one_rests_and_comes_back():
    clock, failures = FakeClock(), Failures()
    first, second = named(FakeRecognizer(*[crashed()] * 2, "back"), "first"), named(FakeRecognizer("a", "b"), "second")
    engine = FallbackRecognizer([first, second], failures, clock)
    heard = []
    for wait in (0, 6, 0):
        recognition = await engine.open()
        await recognition.feed(audio(0.3))
        heard.append((await recognition.transcript()).text)
        await recognition.close()
        clock.advance(wait)
    assert heard == ["a", "b", "back"]
    assert (failures.mended, engine.serving) == (["first"], "first")
    assert engine.forwarded["first", "second"] == 2


async def test_an_engine_that_cannot_begin_is_passed_over():
    class Closed(FakeRecognizer):
        async def open(self) -> Any:
            self.opened += 1
            raise STTError("stt_broken", "no model")

    closed = Closed()
    recognition = await FallbackRecognizer([closed, FakeRecognizer("hi")], Failures(), FakeClock()).open()
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hi"
    assert closed.opened == 1, "it did not lose an utterance"
    with pytest.raises(STTError, match="no model"):
        await FallbackRecognizer([Closed()], Failures(), FakeClock()).open()


@pytest.mark.parametrize("step", ["open", "feed", "transcript"])
async def test_what_no_engine_should_raise_is_made_up_for_too(step):
    failures, sound = Failures(), FakeRecognizer("hello")
    recognition = await FallbackRecognizer([RaisesAt(step), sound], failures, FakeClock()).open()
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hello"
    await recognition.close()
    assert set(failures) == {("foreign", "stt_failed")}
    assert len(sound.heard[0]) == 4800


async def test_when_all_fail_the_last_error_is_raised_and_all_are_closed():
    engines = [FakeRecognizer(*[crashed()] * 2), FakeRecognizer(*[STTError("stt_lost", "lost")] * 2)]
    recognition = await FallbackRecognizer(engines, Failures(), FakeClock()).open()
    with pytest.raises(STTError, match="lost"):
        await recognition.feed(audio(0.1))
    await recognition.close()
    assert [engine.closed for engine in engines] == [2, 2]
    with pytest.raises(STTError, match="ended"):
        await recognition.feed(audio(0.1))


async def test_memory_is_bounded():
    fragile, sound = CrashesAfter(KEPT_SECONDS + 20), FakeRecognizer("hi")
    recognition = await FallbackRecognizer([fragile, sound], Failures(), FakeClock()).open()
    for n in range(int(KEPT_SECONDS) + 20):
        await recognition.feed(audio(1.0, n))
    await recognition.transcript()
    assert len(sound.heard[0]) == KEPT_SECONDS * 16_000
    assert sound.heard[0][-1] == KEPT_SECONDS + 19


def test_partials_are_promised_only_if_all_give_them():
    whole = FakeRecognizer()
    whole.streams_partials = False
    assert streams_partials(FallbackRecognizer([FakeRecognizer(), FakeRecognizer()], Failures()))
    assert not streams_partials(FallbackRecognizer([FakeRecognizer(), whole], Failures()))


async def test_an_utterance_that_is_given_up_says_nothing_of_the_engine():
    class Slow(FakeRecognizer):
        async def open(self) -> Any:
            await asyncio.Event().wait()

    clock, failures = FakeClock(), Failures()
    first, second = named(FakeRecognizer(crashed(), crashed(), "back"), "first"), named(FakeRecognizer("a"), "second")
    engine = FallbackRecognizer([first, second], failures, clock)
    recognition = await engine.open()
    await recognition.feed(audio(0.3))
    await recognition.close()
    clock.advance(6)
    recognition = await engine.open()
    assert engine.current == "second", "one utterance finds out"
    await recognition.close()
    assert engine.current == "first"
    engine.prefer(named(Slow(), "slow"))
    engine.start_without(crashed())
    clock.advance(6)
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    assert engine.current == "first"
    opening.cancel()
    await asyncio.wait([opening])
    assert engine.current == "slow"


class Able(FakeRecognizer):
    def can_hear(self, asked: Hearing) -> bool:
        return asked.translate


async def test_only_engines_that_can_do_what_is_asked_are_tried():
    plain, able = FakeRecognizer("never asked"), named(Able("hello"), "able")
    ladder = FallbackRecognizer([plain, able], Failures(), FakeClock())
    assert can_hear(ladder, Hearing(translate=True)) and not can_hear(ladder, Hearing(word_times=True))
    token = hearing.set(Hearing(translate=True))
    try:
        recognition = await ladder.open()
    finally:
        hearing.reset(token)
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hello"
    assert (plain.opened, dict(ladder.forwarded)) == (0, {})


class Lossy(FakeRecognizer):
    """Loses the process of an utterance whenever it has heard so many seconds of the whole, or one that begins."""

    name = "embedded"

    def __init__(self, *seconds: float, starts_lost: int = 0) -> None:
        super().__init__()
        self.losses = [round(16_000 * one) for one in seconds]
        self.starts_lost = starts_lost

    async def open(self) -> Any:
        self.opened += 1
        engine = self
        if self.opened > 1 and self.starts_lost:
            self.starts_lost -= 1
            raise crashed()

        class Recognition:
            count = 0

            async def feed(self, samples: np.ndarray) -> str:
                self.count += len(samples)
                if engine.losses and self.count >= engine.losses[0]:
                    del engine.losses[0]
                    raise crashed()
                return ""

            async def transcript(self) -> Transcript:
                return Transcript(f"{self.count} samples")

            async def close(self) -> None:
                engine.closed += 1

        return Recognition()


async def talked(ladder: FallbackRecognizer, clock: FakeClock, seconds: float) -> str:
    """What is understood of so much sound, while time passes for whoever waits."""

    async def utterance() -> str:
        recognition = await ladder.open()
        for _ in range(round(seconds / 0.1)):
            await recognition.feed(audio(0.1))
        told = await recognition.transcript()
        await recognition.close()
        return told.text

    work = asyncio.create_task(utterance())
    while not work.done():
        sleeping = asyncio.create_task(clock.sleeper())
        await asyncio.wait({work, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            clock.advance(clock.waits[0])
        sleeping.cancel()
    return await work


async def test_each_process_that_an_utterance_loses_is_made_up_for():
    engine, spare, clock = Lossy(1.0, 2.0, 3.0, 4.0), FakeRecognizer("never asked"), FakeClock()
    assert await talked(FallbackRecognizer([engine, spare], Failures(), clock), clock, 5.0) == "80000 samples"
    assert (engine.opened, engine.closed, spare.opened, clock.now()) == (5, 5, 0, 0.0)


async def test_an_engine_that_comes_no_farther_is_asked_once_more_and_no_oftener():
    engine, spare, clock = CrashesAfter(0.5), FakeRecognizer("a b c d e"), FakeClock()
    assert await talked(FallbackRecognizer([engine, spare], Failures(), clock), clock, 3.0) == "a b c d e"
    assert engine.opened == 2


async def test_with_nobody_else_there_the_next_process_is_waited_for():
    engine, clock = Lossy(1.0, starts_lost=3), FakeClock()
    assert await talked(FallbackRecognizer([engine], Failures(), clock), clock, 2.0) == "32000 samples"
    assert engine.opened == 5 and 0 < clock.now() < 5


async def test_what_loses_every_process_is_given_up():
    engine, failures, clock = Lossy(1.0, starts_lost=99), Failures(), FakeClock()
    ladder = FallbackRecognizer([engine], failures, clock)
    with pytest.raises(STTError, match="unexpectedly"):
        await talked(ladder, clock, 2.0)
    assert len(failures) == 7 and clock.now() < 5
    with pytest.raises(STTError, match="unexpectedly"):  # nor is it waited for again
        await talked(ladder, clock, 2.0)
    assert len(failures) == 8
