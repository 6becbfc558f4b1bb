"""The phrase cache: what is a hit, what is kept, and that it never lies or holds up others."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from pipelines.engines.tts import phrases
from pipelines.engines.tts.phrases import CachedVoice, Phrase, PhraseMemory, pieces_of
from pipelines.errors import TTSError
from pipelines.interfaces.tts import Speech, WordTiming
from tests.fakes.engines import FakeVoice


async def say(voice, text: str, *args) -> list[Speech]:
    async with aclosing(voice.synthesize(text, *args)) as pieces:
        return [piece async for piece in pieces]


def joined(pieces: list[Speech]) -> tuple[list[int], tuple[WordTiming, ...]]:
    return np.concatenate([p.samples for p in pieces]).tolist(), tuple(w for p in pieces for w in p.words)


def phrase(value: int, seconds: float = 1.0, rate: int = 1000) -> Phrase:
    return Phrase(np.full(round(seconds * rate), value, np.int16), rate, (WordTiming("word", 0.0, seconds),))


async def test_what_was_said_once_is_not_synthesised_again():
    engine = FakeVoice()
    voice = CachedVoice(engine)
    first, second = await say(voice, "one two three"), await say(voice, "one two three")
    assert engine.said == ["one two three"]
    assert joined(first) == joined(second)
    assert (voice.name, voice.voices) == (engine.name, engine.voices)
    assert (voice.hits, voice.misses) == (1, 1)


async def test_another_voice_speed_or_text_is_another_phrase():
    engine = FakeVoice()
    voice = CachedVoice(engine)
    for request in (("a b",), ("a b", "other"), ("a b", None, 1.5), ("a b.",), ("A b",)):
        await say(voice, *request)
    assert len(engine.said) == 5
    await say(voice, "a b", "square", 1)
    assert len(engine.said) == 5, "the default voice by its name is the same voice"


def test_pieces_are_short_and_carry_the_words_that_start_in_them():
    words = tuple(WordTiming(str(n), n * 0.1, n * 0.1 + 0.1) for n in range(10))
    pieces = list(pieces_of(Phrase(np.arange(1100, dtype=np.int16), 1000, words)))
    assert [len(piece.samples) for piece in pieces] == [250, 250, 250, 250, 100]
    assert [[word.text for word in piece.words] for piece in pieces] == [
        ["0", "1", "2"],
        ["3", "4"],
        ["5", "6", "7"],
        ["8", "9"],
        [],
    ]
    late = WordTiming("late", 9.0, 9.1)
    assert list(pieces_of(Phrase(np.zeros(300, np.int16), 1000, (late,))))[-1].words == (late,)


async def test_a_stream_that_is_closed_early_is_not_kept():
    engine = FakeVoice()
    voice = CachedVoice(engine)
    async with aclosing(voice.synthesize("one two three")) as pieces:
        await anext(pieces)
    await say(voice, "one two three")
    assert len(engine.said) == 2


async def test_failures_and_silence_are_not_kept():
    engine = FakeVoice(fails=True)
    voice = CachedVoice(engine)
    with pytest.raises(TTSError):
        await say(voice, "hello")
    engine.fails = False
    assert await say(voice, "hello")
    assert await say(voice, " ") == await say(voice, " ") == []
    assert voice.hits == 0


async def test_long_phrases_are_not_kept():
    engine = FakeVoice()
    voice = CachedVoice(engine)
    long, longest = " ".join(["word"] * 49), " ".join(["word"] * 48)
    for text in (long, long, longest, longest):
        await say(voice, text)
    assert engine.said == [long, long, longest]


async def test_the_same_new_phrase_asked_for_twice_at_a_time():
    voice = CachedVoice(FakeVoice())
    first, second = await asyncio.gather(say(voice, "a b c"), say(voice, "a b c"))
    assert joined(first) == joined(second) == joined(await say(voice, "a b c"))
    assert voice._memory.nbytes == next(iter(voice._memory._phrases.values())).nbytes


def test_memory_forgets_the_longest_unused():
    memory = PhraseMemory(2 * phrase(0).nbytes)
    memory.put("a", phrase(1))
    memory.put("b", phrase(2))
    assert memory.get("a") is not None
    memory.put("c", phrase(3))
    assert [memory.get(key) is not None for key in "abc"] == [True, False, True]
    memory.put("large", phrase(4, seconds=3.0))
    assert memory.get("large") is None
    assert len(memory) == 2
    assert memory.nbytes == memory.most_bytes


async def test_a_long_hit_lets_others_run():
    voice = CachedVoice(FakeVoice())
    await say(voice, "a b c d")
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    pieces = await say(voice, "a b c d")
    task.cancel()
    assert turns >= len(pieces) == 1.0 / phrases.PIECE_SECONDS
