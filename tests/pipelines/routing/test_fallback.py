"""Engines that fail hand their work on, rest, and are tried again; what was said or heard is not lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from pipelines.errors import EngineBusyError, EngineStuckError, ListenError, PipelineError, SpeakError, ThinkError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.stt import streams_partials
from pipelines.interfaces.tts import Speech
from pipelines.routing.backoff import LONGEST_REST, Ladder
from pipelines.routing.fallback import FallbackModel
from pipelines.routing.fallback_stt import KEPT_SECONDS, FallbackRecognizer
from pipelines.routing.fallback_voice import FallbackVoice
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, crashed

REQUEST = ChatRequest((Message("user", "hello"),))
TIMEOUT = ThinkError("llm_timeout", "no answer in 15 s")


class Failures(list[tuple[str, str]]):
    """What was reported: name of the engine, code."""

    def __init__(self) -> None:
        super().__init__()
        self.mended: list[str] = []
        """Names of engines that were told to work again."""

    def __call__(self, name: str, error: PipelineError | None) -> None:
        if error is None:
            self.mended.append(name)
        else:
            self.append((name, error.code))


def named(engine: Any, name: str) -> Any:
    engine.name = name
    return engine


# ------------------------------------------------------------------------------------------------- the ladder


def test_a_failed_engine_rests_longer_each_time_and_is_forgiven():
    clock = FakeClock()
    ladder = Ladder(["a", "b"], Failures(), clock, 5.0)
    for rest in (5, 10, 20, 40, LONGEST_REST, LONGEST_REST):
        assert ladder.order() == [0, 1]
        ladder.failed(0, TIMEOUT, 1)
        clock.advance(rest - 0.1)
        assert ladder.order() == [1, 0]
        clock.advance(0.2)
    ladder.worked(0)
    ladder.failed(0, TIMEOUT, 1)
    clock.advance(5.1)
    assert ladder.order() == [0, 1]


def test_one_that_was_only_busy_does_not_rest():
    failures = Failures()
    ladder = Ladder(["a", "b"], failures, FakeClock())
    ladder.failed(0, EngineBusyError("engine_busy", "64 jobs waiting"), 1)
    assert ladder.order() == [0, 1]
    assert failures == [("a", "engine_busy")]


def test_when_all_rest_they_are_tried_by_preference():
    ladder = Ladder(["a", "b", "c"], Failures(), FakeClock())
    for place in (2, 0, 1):
        ladder.failed(place, TIMEOUT, None)
    assert ladder.order() == [0, 1, 2]
    assert ladder.order(first=2) == [2, 0, 1]


def test_no_engine_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        Ladder([], Failures())


# ------------------------------------------------------------------------------------------------- language models


async def answer(model: FallbackModel) -> str:
    return "".join([piece async for piece in model.stream(REQUEST)])


async def test_a_dead_model_costs_one_turn_and_is_tried_again_later():
    clock, failures = FakeClock(), Failures()
    served, scripted = named(FakeModel(TIMEOUT, "I am back."), "served"), named(FakeModel(*["Hi."] * 3), "scripted")
    model = FallbackModel([served, scripted], failures, clock)
    assert await answer(model) == "Hi. "
    assert await answer(model) == "Hi. "
    assert len(served.requests) == 1
    assert failures == [("served", "llm_timeout")]
    assert model.forwarded["served", "scripted"] == 2
    clock.advance(6)
    assert await answer(model) == "I am back. "


async def test_half_an_answer_is_not_followed_by_another():
    class Breaks(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
            yield "Half "
            raise TIMEOUT

    other = FakeModel("Whole.")
    model = FallbackModel([Breaks(), other], Failures(), FakeClock())
    with pytest.raises(ThinkError):
        await answer(model)
    assert not other.requests
    assert await answer(model) == "Whole. "  # it rests all the same


async def test_what_no_engine_should_raise_is_a_failure_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    class Defective(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
            raise ZeroDivisionError
            yield ""

    failures = Failures()
    assert await answer(FallbackModel([Defective(), FakeModel("Whole.")], failures, FakeClock())) == "Whole. "
    assert failures == [("fake-llm", "llm_failed")]
    assert "ZeroDivisionError" in caplog.text


async def test_the_last_error_is_raised_when_all_fail():
    last = ThinkError("llm_unreachable", "gone")
    with pytest.raises(ThinkError, match="gone"):
        await answer(FallbackModel([FakeModel(TIMEOUT), FakeModel(last)], Failures(), FakeClock()))


async def test_closing_early_is_no_failure():
    failures = Failures()
    first = FakeModel("one two three")
    model = FallbackModel([first, FakeModel()], failures, FakeClock())
    async with aclosing(model.stream(REQUEST)) as stream:
        await anext(stream)
    assert first.cancelled == 1
    assert not failures


# ------------------------------------------------------------------------------------------------- voices


class OtherVoice(FakeVoice):
    name = "embedded"

    def __init__(self, fails: bool | Exception = False) -> None:
        super().__init__(fails, ("plain", "other"))


async def said(voice: FallbackVoice, text: str = "hello you", name: str | None = None) -> list[Speech]:
    return [piece async for piece in voice.synthesize(text, name)]


async def test_voices_of_all_engines_are_there_and_the_first_that_has_one_speaks_it():
    one, two = FakeVoice(), OtherVoice()
    voice = FallbackVoice([one, two], Failures(), FakeClock())
    assert voice.voices == ("square", "other", "plain")
    for name in (None, "other", "plain"):
        await said(voice, str(name), name)
    assert (one.said, two.said) == (["None", "other"], ["plain"])


async def test_another_engine_speaks_the_clause_with_its_own_voice():
    clock, failures = FakeClock(), Failures()
    broken, embedded = FakeVoice(fails=True), OtherVoice()
    voice = FallbackVoice([broken, embedded], failures, clock)
    words = [word.text for piece in await said(voice, "hello you", "square") for word in piece.words]
    assert words == ["hello", "you"]
    assert failures == [("fake-tts", "tts_failed")]
    await said(voice, "again", "square")
    assert len(failures) == 1
    clock.advance(6)
    broken.fails = False
    await said(voice, "back", "square")
    assert (broken.said, embedded.said) == (["back"], ["hello you", "again"])


async def test_another_engine_speaks_after_an_exception_that_is_none_of_ours():
    class Foreign(FakeVoice):
        async def synthesize(
            self, text: str, voice: str | None = None, speed: float = 1.0
        ) -> AsyncGenerator[Speech, None]:
            raise KeyError("phoneme")
            yield

    failures, embedded = Failures(), OtherVoice()
    await said(FallbackVoice([Foreign(), embedded], failures, FakeClock()))
    assert (failures, embedded.said) == ([("fake-tts", "tts_failed")], ["hello you"])


async def test_what_is_left_of_a_clause_is_spoken_by_the_next_engine():
    class Breaks(FakeVoice):
        async def synthesize(
            self, text: str, voice: str | None = None, speed: float = 1.0
        ) -> AsyncGenerator[Speech, None]:
            async for piece in super().synthesize(" ".join(text.split()[:2])):
                yield piece
            raise EngineStuckError("engine_stuck", "the third word never came")

    failures, other = Failures(), OtherVoice()
    pieces = await said(FallbackVoice([Breaks(), other], failures, FakeClock()), "one two three four")
    assert other.said == ["three four"]
    assert [(word.text, word.start) for piece in pieces for word in piece.words] == [
        ("one", 0.0),
        ("two", 0.25),
        ("three", 0.5),
        ("four", 0.75),
    ]
    assert failures == [("fake-tts", "engine_stuck")]


async def test_where_nobody_knows_what_has_sounded_there_is_no_going_back():
    class Breaks(FakeVoice):
        async def synthesize(
            self, text: str, voice: str | None = None, speed: float = 1.0
        ) -> AsyncGenerator[Speech, None]:
            yield Speech(np.ones(10, np.int16), self.rate)
            raise SpeakError("tts_failed", "hoarse")

    other = OtherVoice()
    with pytest.raises(SpeakError, match="hoarse"):
        await said(FallbackVoice([Breaks(), other], Failures(), FakeClock()))
    assert not other.said


async def test_what_the_caller_did_wrong_is_not_the_engines_failure():
    class Strict(FakeVoice):
        async def synthesize(
            self, text: str, voice: str | None = None, speed: float = 1.0
        ) -> AsyncGenerator[Speech, None]:
            raise SpeakError("invalid_speed", "speed: 9 is not within 0.25–4")
            yield

    failures = Failures()
    voice = FallbackVoice([Strict(), OtherVoice()], failures, FakeClock())
    with pytest.raises(SpeakError, match="square, other, plain") as refused:
        await said(voice, "hello", "nobody")
    assert refused.value.code == "unknown_voice"
    with pytest.raises(SpeakError, match="speed: 9"):
        await said(voice)
    assert not failures


async def test_silence_is_not_a_failure():
    failures = Failures()
    one, two = FakeVoice(), OtherVoice()
    assert await said(FallbackVoice([one, two], failures, FakeClock()), "") == []
    assert not two.said
    assert not failures


# ------------------------------------------------------------------------------------------------- recognisers


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
    engine, spare = FakeRecognizer(*[ListenError(code, "no")] * 2), FakeRecognizer("hello")
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
    assert engine.forwarded["first", "second"] == 2


async def test_an_engine_that_cannot_begin_is_passed_over():
    class Closed(FakeRecognizer):
        async def open(self) -> Any:
            raise ListenError("stt_broken", "no model")

    recognition = await FallbackRecognizer([Closed(), FakeRecognizer("hi")], Failures(), FakeClock()).open()
    await recognition.feed(audio(0.3))
    assert (await recognition.transcript()).text == "hi"
    with pytest.raises(ListenError, match="no model"):
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
    engines = [FakeRecognizer(*[crashed()] * 2), FakeRecognizer(*[ListenError("stt_lost", "lost")] * 2)]
    recognition = await FallbackRecognizer(engines, Failures(), FakeClock()).open()
    with pytest.raises(ListenError, match="lost"):
        await recognition.feed(audio(0.1))
    await recognition.close()
    assert [engine.closed for engine in engines] == [2, 2]
    with pytest.raises(ListenError, match="ended"):
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
