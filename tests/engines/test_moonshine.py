"""Moonshine: its token file, its guard, and its real weights on recorded speech."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.moonshine import MoonshineGuard, MoonshineRecognizer
from pipelines.engines.moonshine_model import Moonshine, load_moonshine, read_tokens
from pipelines.engines.whisper_windows import Said
from pipelines.errors import ModelError
from pipelines.models.residency import Kept
from pipelines.ports import VAD_RATE
from tests.assets import speech_16k
from tests.real_models import real_folder


@pytest.fixture(scope="module")
def moonshine() -> Moonshine:
    return load_moonshine(real_folder("moonshine-tiny-en"))


def test_tokens_have_their_length_before_them() -> None:
    long = b"x" * 200
    data = b"\x00\x03abc" + bytes([128 + 200 % 128, 200 // 128]) + long
    assert read_tokens(data) == [b"", b"abc", long]


def test_a_token_file_that_ends_early_is_refused() -> None:
    with pytest.raises(ModelError, match="ends within a token"):
        read_tokens(b"\x05ab")


def test_a_folder_that_is_no_moonshine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder_model\.ort, decoder_model_merged\.ort, tokenizer\.bin not found"):
        load_moonshine(tmp_path)


@pytest.mark.parametrize(
    ("said", "silence"),
    [
        (Said("You", (7,), -0.6, 0.0, 0.3), True),
        (Said("Yes.", (7, 8), -0.15, 0.0, 0.4), False),
        (Said("I'm going to do it.", (1, 2, 3, 4, 5), -1.2, 0.0, 0.7), True),
        (Said("♪♪♪", (1, 2, 3), -0.2, 0.0, 0.7), True),
        (Said("what is the weather", (1, 2, 3, 4), -0.6, 0.0, 0.7), False),
    ],
)
def test_what_it_makes_of_noise_is_not_believed(said: Said, silence: bool) -> None:
    assert MoonshineGuard().is_silence(said) is silence


def test_real_speech_is_understood(moonshine: Moonshine) -> None:
    said = moonshine.transcribe(speech_16k("audio/LJ001-0002.wav"))
    assert said.text == "In being comparatively modern."
    assert said.logprob > -0.3


def test_nothing_is_said_of_next_to_nothing(moonshine: Moonshine) -> None:
    assert moonshine.transcribe(np.zeros(100, np.int16)).text == ""


async def test_partials_come_while_somebody_speaks_and_noise_is_nothing(moonshine: Moonshine) -> None:
    engine = MoonshineRecognizer(Kept("moonshine", moonshine))
    speech = speech_16k("audio/jfk48.wav")
    recognition = await engine.open()
    partials = []
    for begin in range(0, len(speech), VAD_RATE):
        partials.append(await recognition.feed(speech[begin : begin + VAD_RATE]))
        while recognition._running is not None:
            await asyncio.wait([recognition._running])
    transcript = await recognition.transcript()
    await recognition.close()
    assert "ask what you can do for your country" in transcript.text.lower()
    assert any("fellow americans" in partial.lower() for partial in partials)
    assert transcript.confidence is not None
    assert transcript.confidence > 0.8
    noise = await engine.open()
    await noise.feed((np.random.default_rng(1).standard_normal(2 * VAD_RATE) * 30).astype(np.int16))
    assert (await noise.transcript()).text == ""
    await noise.close()
    await engine.close()
