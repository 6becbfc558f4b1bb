"""espeak-ng for real: audible speech, exact words, and nothing that upsets the one library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.engines.tts.espeak import TURN, EspeakVoice
from pipelines.errors import EngineStuckError, TTSError
from pipelines.interfaces.tts import Speech
from tests.fakes.clock import FakeClock

SENTENCE = "Hello there, I can count to twenty-five."


@pytest.fixture
async def voice() -> AsyncIterator[EspeakVoice]:
    engine = EspeakVoice()
    yield engine
    await engine.close()


async def said(engine: EspeakVoice, text: str, **how: object) -> list[Speech]:
    return [piece async for piece in engine.synthesize(text, **how)]


def joined(pieces: list[Speech]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


def seconds(pieces: list[Speech]) -> float:
    return len(joined(pieces)) / pieces[0].rate


@pytest.mark.parametrize("name", EspeakVoice.voices)
async def test_every_voice_is_audible_and_does_not_clip(voice, name):
    pieces = await said(voice, SENTENCE, voice=name)
    peak = np.abs(joined(pieces).astype(int)).max()
    assert 32767 * 10 ** (-12 / 20) < peak < 32767
    assert 1.5 < seconds(pieces) < (5 if name.startswith("en") else 10), "some languages spell foreign words"


async def test_words_are_those_of_the_text_in_order_and_within_the_sound(voice):
    pieces = await said(voice, SENTENCE)
    words = [word for piece in pieces for word in piece.words]
    assert " ".join(word.text for word in words) == SENTENCE
    starts = [word.start for word in words]
    assert starts == sorted(starts)
    assert all(word.start <= word.end for word in words)
    assert words[-1].end <= seconds(pieces) + 0.01


async def test_words_travel_with_the_piece_in_which_they_start(voice):
    begin = 0.0
    for piece in await said(voice, SENTENCE * 2):
        end = begin + len(piece.samples) / piece.rate
        assert all(begin - 0.01 <= word.start < end + 0.01 for word in piece.words)
        begin = end


async def test_speed_changes_the_length(voice):
    slow, normal, fast = [seconds(await said(voice, SENTENCE, speed=speed)) for speed in (0.5, 1.0, 2.0)]
    assert 1.5 < slow / normal < 2.5
    assert 1.5 < normal / fast < 2.5


@pytest.mark.parametrize(
    ("how", "code", "named"),
    [
        ({"voice": "nobody"}, "unknown_voice", "en-gb"),
        ({"speed": 0.1}, "invalid_speed", "0.25"),
        ({"speed": 9.0}, "invalid_speed", "4"),
    ],
)
async def test_bad_values_are_refused_with_the_legal_ones(voice, how, code, named):
    with pytest.raises(TTSError, match=named) as refused:
        await said(voice, "hello", **how)
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["", "   ", "...", "—", "\n"])
async def test_nothing_to_say_is_silent(voice, text):
    assert await said(voice, text) == []


async def test_markup_is_read_and_not_obeyed(voice):
    assert await said(voice, "<speak>hello <break time='60s'/> you</speak>")
    assert seconds(await said(voice, "<break time='60s'/> hello")) < 10


async def test_closing_early_leaves_the_engine_fit(voice):
    async with aclosing(voice.synthesize(SENTENCE * 20)) as stream:
        await anext(stream)
    assert " ".join(w.text for p in await said(voice, "Good morning.") for w in p.words) == "Good morning."


async def test_clauses_of_several_tasks_and_engines_do_not_mix(voice):
    other = EspeakVoice()
    texts = [f"This is number {n}." for n in range(8)]
    results = await asyncio.gather(*(said(engine, text) for text in texts for engine in (voice, other)))
    for n, pieces in enumerate(results):
        assert " ".join(w.text for p in pieces for w in p.words) == texts[n // 2]
    await other.close()
    await other.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_text_is_spoken_or_passed_over(text):
    async def speak() -> None:
        engine = EspeakVoice()
        try:
            pieces = await said(engine, text)
            assert all(len(piece.samples) for piece in pieces)
        finally:
            await engine.close()

    asyncio.run(speak())


async def test_a_library_that_hangs_is_waited_for_no_longer_than_allowed(voice):
    crew = voice._worker.crew
    crew.clock = FakeClock()
    with TURN:  # as if somebody's call never came back
        speaking = asyncio.create_task(said(voice, "Hello."))
        while not speaking.done():
            await asyncio.sleep(0)
            crew.clock.advance(10.0)
            crew.look()
        with pytest.raises(EngineStuckError):
            await speaking
    assert await said(voice, "Hello.")
