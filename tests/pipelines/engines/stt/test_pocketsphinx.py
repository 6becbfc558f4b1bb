"""PocketSphinx for real, in its own processes: words out of speech, and every way to lose a process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import numpy as np
import pytest

from media.resample import Resampler
from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.errors import STTError
from pipelines.interfaces.vad import VAD_RATE
from tests.assets import asset, speech_16k, word_recall

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
CHUNK = VAD_RATE // 10


@pytest.fixture
async def engine() -> AsyncIterator[PocketSphinxRecognizer]:
    engine = PocketSphinxRecognizer(processes=1)
    yield engine
    await engine.close()


async def spoken(text: str) -> np.ndarray:
    voice, resampler = EspeakVoice(), Resampler(VAD_RATE)
    parts = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(text, speed=0.9)]
    await voice.close()
    pause = np.zeros(VAD_RATE // 4, np.int16)
    speech = np.concatenate([pause, *parts, resampler.flush(), pause])
    room = np.random.default_rng(1).normal(0, 20, len(speech))  # no microphone hears digital silence
    return (speech + room).clip(-32768, 32767).astype(np.int16)


async def heard(engine: PocketSphinxRecognizer, *parts: np.ndarray) -> tuple[str, list[str]]:
    """The transcript of all parts, a transcript being asked for after each, and the partials."""
    recognition = await engine.open()
    partials = []
    try:
        for part in parts:
            for start in range(0, len(part), CHUNK):
                partials.append(await recognition.feed(part[start : start + CHUNK]))  # noqa: PERF401
            transcript = await recognition.transcript()
    finally:
        await recognition.close()
    return transcript.text, partials


@pytest.mark.parametrize(
    ("name", "least"), [pytest.param("audio/jfk.flac", 0.6, marks=pytest.mark.long), ("audio/LJ001-0004.wav", 0.75)]
)
async def test_words_of_real_speech(engine, name, least):
    text = JFK if "jfk" in name else asset(name.replace(".wav", ".txt")).read_text()
    found, partials = await heard(engine, speech_16k(name))
    assert word_recall(text, found) >= least, found
    assert partials[-1]


async def test_words_of_synthesised_speech_and_partials_while_speaking(engine):
    text = "how many people are there"
    found, partials = await heard(engine, await spoken(text))
    assert word_recall(text, found) >= 0.6, found  # espeak sounds a little different each time
    assert len(set(partials)) >= 3


@pytest.mark.long
async def test_a_turn_goes_on_after_a_pause(engine):
    question = await spoken("how many people are there")
    found, _ = await heard(engine, question, question)
    assert word_recall("how many people are there how many people are there", found) >= 0.6, found


async def test_an_utterance_knows_nothing_of_the_one_before(engine):
    await heard(engine, await spoken("good morning"))
    assert await heard(engine, np.zeros(VAD_RATE, np.int16)) == ("", [""] * 10)


async def test_the_next_waits_for_a_free_decoder(engine):
    first = await engine.open()
    second = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    assert not second.done()
    await first.close()
    await (await second).close()


async def test_a_killed_process_fails_its_utterance_only(engine):
    recognition = await engine.open()
    await recognition.feed(np.zeros(CHUNK, np.int16))
    os.kill(recognition._decoder.pid, signal.SIGKILL)
    with pytest.raises(STTError) as crashed:
        for _ in range(100):
            await recognition.feed(np.zeros(CHUNK, np.int16))
    assert crashed.value.code == "stt_crashed"
    await recognition.close()
    assert (await heard(engine, np.zeros(VAD_RATE, np.int16)))[0] == ""


async def test_cancelling_in_mid_call_leaves_the_engine_fit(engine):
    recognition = await engine.open()
    feeding = asyncio.create_task(recognition.feed(np.zeros(60 * VAD_RATE, np.int16)))
    await asyncio.sleep(0)
    feeding.cancel()
    with suppress(asyncio.CancelledError):
        await feeding
    await recognition.close()
    await recognition.close()
    assert (await heard(engine, np.zeros(VAD_RATE, np.int16)))[0] == ""


async def test_a_closed_recognition_says_so(engine):
    recognition = await engine.open()
    await recognition.close()
    with pytest.raises(STTError) as closed:
        await recognition.feed(np.zeros(CHUNK, np.int16))
    assert closed.value.code == "stt_closed"


async def test_closing_ends_the_processes():
    engine = PocketSphinxRecognizer(processes=1)
    await engine.warm()
    (pid,) = engine.pids
    await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert engine.pids == []
