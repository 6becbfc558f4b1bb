"""The starter Whisper that ships, for real: what it hears through the engine and through faster-whisper itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from media.frames import Samples
from pipelines.engines.whisper import WhisperRecognizer
from pipelines.engines.whisper_model import Whisper, load_whisper
from pipelines.engines.whisper_settings import WhisperSettings
from pipelines.models.residency import Kept
from pipelines.ports import VAD_RATE
from pipelines.starter.speech_evaluate import SpeechExaminer, unseen, word_errors
from pipelines.starter.speech_model_files import is_shipped, shipped
from pipelines.starter.speech_noise import as_samples, bank
from pipelines.starter.speech_voice import Manner, speak
from tests.fakes.watched_whisper import heard

pytestmark = pytest.mark.skipif(not is_shipped(), reason="this checkout holds no starter Whisper")

SENTENCES = (
    "what is seven plus two",
    "what time is it",
    "my name is david",
    "can you see my right hand",
    "tell me a joke please",
    "thank you very much",
)


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return load_whisper(shipped(), "cpu")


@pytest.fixture
async def engine(whisper: Whisper) -> AsyncIterator[WhisperRecognizer]:
    made = WhisperRecognizer(Kept("starter-whisper", whisper), WhisperSettings(word_timestamps=True))
    yield made
    await made.close()


def spoken(text: str, voice: str = "en-us") -> Samples:
    """With a quarter of a second of silence around it."""
    return np.pad(speak(text, Manner(voice)).samples, VAD_RATE // 4)


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in shipped().iterdir()) <= 8_000_000


async def test_it_hears_the_starter_conversation(engine: WhisperRecognizer) -> None:
    said = [(await heard(engine, spoken(text))).text for text in SENTENCES]
    assert sum(word_errors(text, one) for text, one in zip(SENTENCES, said, strict=True)) <= 1, said


async def test_unseen_sentences_by_unseen_voices() -> None:
    report = await SpeechExaminer(shipped()).run(unseen()[::6])
    tallies = report.tallies
    assert tallies["unseen voices, clean", "known"].rate <= 0.15, report.failures  # its card: 9 % of all of them
    assert tallies["unseen voices, clean", "short"].rate <= 0.22, report.failures  # 15 %
    assert tallies["unseen voices, clean", "short"].rate <= tallies["unseen voices, clean", "30 s"].rate + 0.03
    assert sum(abs(early) <= 0.12 for early in report.early) >= 0.8 * len(report.early)


async def test_words_have_times_in_order(engine: WhisperRecognizer) -> None:
    sound = spoken(SENTENCES[0])
    transcript = await heard(engine, sound)
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert [word.text for word in transcript.words] == transcript.text.split()
    assert times == sorted(times)
    assert 0.2 <= times[0] <= 0.4  # not from the silence before it
    assert times[-1] <= len(sound) / VAD_RATE
    assert transcript.language == "en"


@pytest.mark.parametrize("kind", ["silence", "pink", "hum"])
async def test_it_makes_nothing_up(engine: WhisperRecognizer, kind: str) -> None:
    level = 0.0 if kind == "silence" else 0.05
    sound = as_samples(bank("pink" if kind == "silence" else kind)[: 2 * VAD_RATE] * np.float32(level))
    assert (await heard(engine, sound)).text == ""


async def test_partial_transcripts_grow_into_the_final_one(engine: WhisperRecognizer) -> None:
    recognition = await engine.open()
    sound = spoken("please tell me how many people you can see in front of the camera now")
    shown = []
    for start in range(0, len(sound), VAD_RATE // 2):
        shown.append(await recognition.feed(sound[start : start + VAD_RATE // 2]))
        if recognition._running is not None:
            await asyncio.wait([recognition._running])
    final = await recognition.transcript()
    await recognition.close()
    assert any(shown), shown
    last = next(text for text in reversed(shown) if text).split()
    assert final.text.split()[:2] == last[:2]


def test_it_works_in_faster_whisper_as_it_is() -> None:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(shipped()), "cpu", compute_type="int8", local_files_only=True)
    sound = spoken(SENTENCES[0]).astype(np.float32) / 32768
    segments, info = model.transcribe(sound, word_timestamps=True)
    said = list(segments)
    assert info.language == "en"
    assert word_errors(SENTENCES[0], " ".join(one.text.strip() for one in said)) <= 1
    assert 0.0 <= said[0].start < said[-1].end <= 2.5
    assert said[0].words
