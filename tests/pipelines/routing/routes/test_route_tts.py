"""A voice that fails hands the clause on, or what is left of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np
import pytest

from pipelines.errors import EngineStuckError, TTSError
from pipelines.interfaces.tts import Speech
from pipelines.routing.routes.speech import FallbackVoice
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeVoice
from tests.fakes.failures import Failures


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
            raise TTSError("tts_failed", "hoarse")

    other = OtherVoice()
    with pytest.raises(TTSError, match="hoarse"):
        await said(FallbackVoice([Breaks(), other], Failures(), FakeClock()))
    assert not other.said


async def test_what_the_caller_did_wrong_is_not_the_engines_failure():
    class Strict(FakeVoice):
        async def synthesize(
            self, text: str, voice: str | None = None, speed: float = 1.0
        ) -> AsyncGenerator[Speech, None]:
            raise TTSError("invalid_speed", "speed: 9 is not within 0.25–4")
            yield

    failures = Failures()
    voice = FallbackVoice([Strict(), OtherVoice()], failures, FakeClock())
    with pytest.raises(TTSError, match="square, other, plain") as refused:
        await said(voice, "hello", "nobody")
    assert refused.value.code == "unknown_voice"
    with pytest.raises(TTSError, match="speed: 9"):
        await said(voice)
    assert not failures


async def test_silence_is_not_a_failure():
    failures = Failures()
    one, two = FakeVoice(), OtherVoice()
    assert await said(FallbackVoice([one, two], failures, FakeClock()), "") == []
    assert not two.said
    assert not failures
