"""The engines of the benchmark profile, and that two replies of a session never sound alike."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from media.frames import silence
from pipelines.engines.stubs import HEARD, RATE, RESPONSES, BenchModel, BenchRecognizer, BenchVoice
from pipelines.errors import TTSError
from pipelines.interfaces.llm import ChatRequest, LanguageModel
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.tts import Speech, TextToSpeech
from pipelines.voice.clauses import ClauseSplitter
from pipelines.voice.history import History, Item
from pipelines.voice.spoken_text.normalize import speakable


async def reply(history: History) -> str:
    request = ChatRequest(history.messages("You are a benchmark."))
    return "".join([piece async for piece in BenchModel().stream(request)])


async def speech(text: str, seconds: float = 3.0, speed: float = 1.0) -> list[Speech]:
    return [piece async for piece in BenchVoice(seconds).synthesize(text, speed=speed)]


def frequency(pieces: list[Speech]) -> float:
    samples = np.concatenate([piece.samples for piece in pieces])
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


def test_the_engines_keep_the_contracts() -> None:
    recognizer: SpeechToText = BenchRecognizer()
    model: LanguageModel = BenchModel()
    voice: TextToSpeech = BenchVoice()
    assert recognizer.name == model.name == voice.name == "bench"


async def test_the_recogniser_says_nothing_before_the_transcript() -> None:
    recognition = await BenchRecognizer().open()
    assert (await recognition.transcript()).text == ""
    assert await recognition.feed(silence(0.1, 16_000)) == ""
    assert (await recognition.transcript()).text == HEARD
    assert await recognition.feed(silence(0.1, 16_000)) == HEARD
    await recognition.close()


@pytest.mark.parametrize("text", RESPONSES)
def test_a_reply_is_one_clause_that_is_spoken_as_it_is(text: str) -> None:
    splitter = ClauseSplitter()
    assert [*splitter.push(text), *splitter.flush()] == [text]
    assert speakable(text) == text


@pytest.mark.parametrize(("context", "heard_words"), [*product([3_000, 120], [9, 3, 1]), (3_000, 0), (120, 0)])
async def test_consecutive_replies_alternate(context: int, heard_words: int) -> None:
    """Whatever was heard of the replies, and however little of the past is remembered."""
    history, replies = History(context_tokens=context), []
    for turn in range(12):
        history.add(Item(f"user{turn}", "user", HEARD))
        replies.append(await reply(history))
        history.add(Item(f"reply{turn}", "assistant", replies[-1]))
        if turn % 3 == 1:
            history.truncate(f"reply{turn}", " ".join(replies[-1].split()[:heard_words]))
    assert all(one != two for one, two in pairwise(replies))


async def test_the_first_reply_is_low_and_the_second_high() -> None:
    assert frequency(await speech(RESPONSES[0])) == 440
    assert frequency(await speech(RESPONSES[1])) == 880


async def test_chunks_are_a_tenth_of_a_second_and_join_without_a_click() -> None:
    pieces = await speech(RESPONSES[0], seconds=0.25)
    assert [len(piece.samples) for piece in pieces] == [2400, 2400, 1200]
    samples = np.concatenate([piece.samples for piece in pieces]).astype(int)
    steepest = 0.3 * 32767 * 2 * np.pi * 440 / RATE
    assert np.abs(np.diff(samples)).max() <= steepest + 1
    assert np.abs(samples).max() == pytest.approx(0.3 * 32767, abs=2)


async def test_words_fill_the_reply_and_come_with_the_piece_they_start_in() -> None:
    pieces = await speech(RESPONSES[1])
    words = [word for piece in pieces for word in piece.words]
    assert " ".join(word.text for word in words) == RESPONSES[1]
    assert words[0].start == 0
    assert words[-1].end == pytest.approx(3.0)
    for n, piece in enumerate(pieces):
        assert all(n * 0.1 - 1e-9 <= word.start < (n + 1) * 0.1 + 1e-9 for word in piece.words)


async def test_speed_shortens_the_reply() -> None:
    assert sum(len(piece.samples) for piece in await speech(RESPONSES[0], speed=2.0)) == 1.5 * RATE


async def test_an_unknown_voice_is_an_error() -> None:
    with pytest.raises(TTSError, match="tone"):
        await anext(BenchVoice().synthesize("hello", "soprano"))
