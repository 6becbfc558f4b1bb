"""Calls through the real server while the recogniser's process is killed or stopped, idle or in mid-word."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.routing.routes.speech import FallbackRecognizer
from tests.assets import word_recall
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.peer import Peer

WORDS = "how many people are there"
LOSSES = pytest.mark.parametrize("loss", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
COMPLETED = "conversation.item.input_audio_transcription.completed"


@pytest.fixture(scope="module")
def question() -> np.ndarray:
    """The words at 48 kHz, and a pause that ends the turn."""

    async def speak() -> list[np.ndarray]:
        voice, resampler = EspeakVoice(), Resampler(RATE)
        parts = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(WORDS, speed=0.9)]
        await voice.close()
        return [*parts, resampler.flush()]

    return np.concatenate([*asyncio.run(speak()), np.zeros(RATE, np.int16)])


@pytest.fixture
async def recogniser() -> AsyncIterator[PocketSphinxRecognizer]:
    engine = PocketSphinxRecognizer(processes=1)
    await engine.warm()
    yield engine
    await engine.close()


def engines(recogniser: PocketSphinxRecognizer) -> Any:
    ladder = FallbackRecognizer([recogniser], lambda name, error: None)
    return fake_engines(stt=ladder, llm=FakeModel(*["Three."] * 9))


@pytest.mark.long
@LOSSES
async def test_lost_while_idle_every_later_call_is_understood(serve, recogniser, question, loss):
    url, _ = await serve(engines(recogniser))
    (pid,) = recogniser.pids
    os.kill(pid, loss)
    for _ in range(2):
        async with Peer(url) as peer:
            peer.say(question, RATE)
            heard = (await peer.event(COMPLETED))["transcript"]
            assert word_recall(WORDS, heard) >= 0.6, heard
            await peer.event("response.done")
            assert not peer.named("error")


@LOSSES
async def test_lost_in_mid_utterance_the_turn_is_not(serve, recogniser, question, loss):
    url, _ = await serve(engines(recogniser))
    (pid,) = recogniser.pids
    async with Peer(url) as peer:
        peer.say(question, RATE)
        await peer.event("visavis.partial_transcript")
        os.kill(pid, loss)
        heard = (await peer.event(COMPLETED))["transcript"]
        assert word_recall(WORDS, heard) >= 0.6, heard
        await peer.event("response.done")
        assert not peer.named("error")
        assert recogniser.pids != [pid]
